"""A worker's health: `/livez`, `/readyz` and `/metrics` of its parent process, and the watchdog behind them.

`/livez` fails when ending the worker would help, see `workers.liveness`. `/readyz` is 200 while it consumes. Without
`health_port` or `health_port_file` nobody is served, and the watchdog mends all the same.
"""

import sys
from pathlib import Path
from typing import Any

from celery import signals

from shared.clock import monotonic_seconds
from shared.errors import ConfigurationError
from shared.metrics import CONTENT_TYPE, exposition
from shared.redis_client import connect
from shared.settings import settings
from workers.liveness import Liveness
from workers.pages import Page, Pages, verdict
from workers.watchdog import LOOKS, BeatStep, Watchdog

ANSWER_SECONDS = 2
"""Of the broker, to the watchdog; without an answer there is no judgement."""


class Health:
    """Of this process, from the start of the worker to its end."""

    def __init__(self) -> None:
        config = settings()
        self.liveness = Liveness(config.health_stall_seconds, monotonic_seconds())
        broker = connect(config.required("broker_url"), timeout=ANSWER_SECONDS, master=config.broker_master)
        self.watchdog = Watchdog(self.liveness, broker, config.health_stall_seconds / LOOKS)
        pages = {"/livez": self.livez, "/readyz": self.readyz, "/metrics": metrics}
        served = config.health_port or config.health_port_file
        self.pages = Pages(config.admin_host, config.health_port, pages, "HEADRACE_HEALTH_PORT") if served else None
        if self.pages and config.health_port_file:
            _write(config.health_port_file, self.pages.port)
        BeatStep.liveness, BeatStep.begin_anew = self.liveness, self.watchdog.begin_anew
        self.watchdog.start()

    def livez(self) -> Page:
        """503 with the reason when the worker should be ended."""
        return verdict(self.liveness.fault(monotonic_seconds()))

    def readyz(self) -> Page:
        """503 unless it consumes."""
        state = self.liveness.state
        return verdict(self.liveness.fault(monotonic_seconds()) or ("" if state == "consuming" else state))


def _write(file: str, port: int) -> None:
    try:
        Path(file).write_text(str(port))
    except OSError as error:
        raise ConfigurationError(
            f"cannot write {file}: {error.strerror}; set HEADRACE_HEALTH_PORT_FILE to another path"
        ) from None


def metrics() -> Page:
    """Prometheus text."""
    return Page(exposition(), content_type=CONTENT_TYPE)


_of_this_process: list[Health] = []


def meanwhile() -> None:
    """Called between attempts to reach the broker: it is away, the worker is not."""
    for health in _of_this_process:
        health.liveness.beat(monotonic_seconds(), "connecting")


@signals.worker_init.connect
def _begin(**_: Any) -> None:
    try:
        _of_this_process.append(Health())
    except ConfigurationError as error:
        sys.exit(f"headrace: {error}")  # any other exception Celery would log, and go on without a watchdog


@signals.worker_process_init.connect
def _forget(**_: Any) -> None:
    """A child has the parent's objects and none of its threads."""
    for health in _of_this_process:
        if health.pages:
            health.pages.drop()
    _of_this_process.clear()


@signals.worker_shutting_down.connect
def _end(**_: Any) -> None:
    """Its loop is allowed to stand still from now on; `lifecycle` bounds how long."""
    for health in _of_this_process:
        health.liveness.beat(monotonic_seconds(), "stopping")
        health.watchdog.stop()
