"""Giving free memory back to the kernel: the C library keeps what was freed in the middle of its heap, once used, for ever.

Payloads come in all sizes, and a small object that outlives them pins the heap's end. `malloc_trim` gives back the free pages in
between, too. Where the C library has no such function nothing happens.
"""

import ctypes
from threading import Event, Thread

TRIM_SECONDS = 30.0
"""Trimming a heap of 30 MB takes a millisecond or two; what is used again costs a page fault."""

_malloc_trim = getattr(ctypes.CDLL(None), "malloc_trim", None)


def trim() -> None:
    """Once, now. Other threads run meanwhile, but for those that allocate."""
    if _malloc_trim is not None:
        _malloc_trim(0)


def keep_trimming() -> None:
    """From a thread of its own, for as long as the process lives. For a child, which forks no more."""
    Thread(target=_trim_for_ever, name="heap-trim", daemon=True).start()


def _trim_for_ever() -> None:
    pause = Event()
    while not pause.wait(TRIM_SECONDS):
        trim()
