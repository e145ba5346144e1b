"""What memory asks of a child: what it inherited stays shared, the collector is paced, and it ends when the parent says so."""

import gc
import os
import signal
from typing import Any

from billiard.pool import EX_RECYCLE
from celery import signals

from workers.memory import heap
from workers.memory.children import RETIRE_SIGNAL

COLLECT_AFTER = (10_000, 10, 10)
"""Allocations of containers over frees before the collector looks at the young, and how often at the older ones. A full batch
stays below it, for what it makes is freed without the collector; Python's own 700 costs 3.5 % of a batch (docs/memory.md)."""

_frozen = False


@signals.worker_before_create_process.connect
def _freeze(**_: Any) -> None:
    """What the parent has loaded is never garbage: out of the collector's sight, its pages stay shared.

    Once, before the first fork. At a later one there are messages in flight: frozen they could never be collected.
    """
    global _frozen  # noqa: PLW0603 - of this process
    if not _frozen:
        _frozen = True
        gc.collect()
        gc.freeze()


@signals.worker_process_init.connect
def _begin(**_: Any) -> None:
    gc.freeze()  # what a replacement inherited of messages in flight in the parent
    gc.set_threshold(*COLLECT_AFTER)
    signal.signal(RETIRE_SIGNAL, _retire)
    heap.keep_trimming()


def _retire(*_: Any) -> None:
    """The parent says so only while nothing runs here. Not `sys.exit`: the pool's way out takes a second, and while it lasts the
    parent would write the next batch to us."""
    try:
        signals.worker_process_shutdown.send(sender=None, pid=os.getpid(), exitcode=EX_RECYCLE)
    finally:
        os._exit(EX_RECYCLE)
