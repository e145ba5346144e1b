"""What a message may do to the child that handles it, by its text; see `tests.chaos.watched_worker`."""

import ctypes
import os
import resource
import signal
from collections.abc import Callable
from threading import Event

DELIVERED = "delivered"
"""A list of the witness: ids of messages, each time that one is given to a handler."""
MEMORY_BYTES = 512 * 2**20
"""What a child may have beyond what it has: an operator's limit."""


def crash() -> None:
    """A bug in native code."""
    ctypes.string_at(0)


def hog() -> None:
    """Memory without end, under a limit that makes allocations fail."""
    before = resource.getrlimit(resource.RLIMIT_AS)
    with open("/proc/self/statm", encoding="ascii") as statm:  # noqa: PTH123
        used = int(statm.read().split()[0]) * resource.getpagesize()
    resource.setrlimit(resource.RLIMIT_AS, (used + MEMORY_BYTES, before[1]))
    try:
        eaten = []
        while True:
            eaten.append(bytes(2**24))
    finally:
        del eaten
        resource.setrlimit(resource.RLIMIT_AS, before)


def be_killed() -> None:
    """Memory without end, under a limit that the kernel enforces."""
    os.kill(os.getpid(), signal.SIGKILL)


def fail() -> None:
    """A bug."""
    raise LookupError("a handler's bug")


HARMS: dict[str, Callable[[], None]] = {"raises": fail, "segfaults": crash, "eats memory": hog, "is killed": be_killed}


def harm(text: str) -> None:
    """Do what the text says, if it is a harm or "takes" so many seconds."""
    if text in HARMS:
        HARMS[text]()
    if text.startswith("takes "):
        Event().wait(float(text.removeprefix("takes ")))
