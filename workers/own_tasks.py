"""Users' own batch tasks: import the modules that hold them, and refuse what no queue would bring work to (docs/handlers.md)."""

from importlib import import_module

from shared.app import app
from shared.errors import ConfigurationError
from shared.settings import Settings
from shared.topology import KINDS, kind_of_task
from tasks.batch import BatchTask


def load(config: Settings) -> None:
    """Import the modules of `task_modules`, which register their tasks. Raises ConfigurationError that names the setting."""
    for name in config.own_queues:
        if name in KINDS:
            raise ConfigurationError(f"HEADRACE_TASK_QUEUES: {name!r} is Headrace's own; leave it out")
    for name in config.own_modules:
        try:
            import_module(name)
        except ModuleNotFoundError as error:
            raise ConfigurationError(
                f"HEADRACE_TASK_MODULES: there is no module {error.name!r}; install it here or set PYTHONPATH"
            ) from None
    for task in app.tasks.values():
        kind = kind_of_task(task.name)
        if isinstance(task, BatchTask) and kind not in (*KINDS, *config.own_queues):
            raise ConfigurationError(f"HEADRACE_TASK_QUEUES: nobody would consume {task.name!r}; add {kind!r}")
