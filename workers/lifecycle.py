"""What a worker's processes open and close: nothing before fork, one connection a child, all of it gone at shutdown."""

import os
import signal
import sys
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import psutil
from celery import signals

from shared import log, tracing
from shared.cache.tiers import close_tiers, drop_inherited_tiers
from shared.db.engine import close_engine, drop_inherited_engine, use
from shared.db.role import Role
from shared.errors import ConfigurationError
from shared.metrics import forget_process
from shared.settings import settings

CHILD = Role("store", size=1, overflow=1, serves=True, index_only=True)
"""A child runs one batch at a time, in one transaction; a handler may read beside it, and gives that connection back at once."""

logger = log.get_logger(__name__)


@signals.setup_logging.connect
def _own_logging(**_: Any) -> None:
    log.configure("worker")


@signals.worker_init.connect
def _refuse(**_: Any) -> None:
    try:
        tracing.require_installed()
    except ConfigurationError as error:
        sys.exit(f"headrace: {error}")  # any other exception Celery would log, and go on


@signals.worker_process_init.connect
def _open_child(**_: Any) -> None:
    drop_inherited_engine()
    drop_inherited_tiers()
    use(CHILD)
    tracing.configure("worker")


@signals.worker_process_shutdown.connect
def _close_child(pid: int | None = None, **_: Any) -> None:
    close_tiers()
    tracing.close()
    close_engine()
    forget_process(pid or os.getpid())


@signals.worker_ready.connect
def _say_ready(**_: Any) -> None:
    if settings().ready_file:
        Path(settings().ready_file).touch()


@signals.worker_shutting_down.connect
def _bound_the_drain(**_: Any) -> None:
    """A batch that hangs (a database that does not answer) must not hold the shutdown: its child is killed when the time
    is up, and what it ran goes back to the queue."""
    timer = threading.Timer(settings().drain_seconds, _kill_children)
    timer.daemon = True
    timer.start()


def _kill_children() -> None:
    logger.warning("drain time is up, unfinished batches are handed back", drain_seconds=settings().drain_seconds)
    for child in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):  # it ended meanwhile; the others must go all the same
            child.send_signal(signal.SIGKILL)
