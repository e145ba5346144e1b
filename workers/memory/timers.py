"""The event loop's cancelled timers, dropped before they would have been due.

Celery sets a timer for the time limit of each batch and cancels it when the batch is done; kombu keeps what is cancelled until
its time comes, a minute later. A thousand such entries, a minute old among messages that live for milliseconds, keep the
allocator's pools from being given back (docs/memory.md).
"""

from heapq import heapify
from typing import Any


def drop_cancelled(timer: Any) -> None:
    """Forget the cancelled entries of kombu's Timer. On the event loop's thread, outside of a timer of its own or in one."""
    queue = timer._queue
    queue[:] = [each for each in queue if not each.entry.canceled]
    heapify(queue)
