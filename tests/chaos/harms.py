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


class Leaked:
    """What a handler forgets to let go of."""

    def __init__(self, size: int) -> None:
        self.payload = b"x" * size


KEPT: list[Leaked] = []


def eat(size: int) -> None:
    """Take so much for as long as the batch runs, within a second or so, and go on running."""
    eaten = []
    for _ in range(size >> 20):
        eaten.append(b"x" * 2**20)
        Event().wait(0.002)
    Event().wait(5)


def harm(text: str) -> None:
    """Do what the text says, if it is a harm, or "takes" so many seconds, or "leaks" or "eats" so many bytes."""
    if text in HARMS:
        HARMS[text]()
    what, _, number = text.partition(" ")
    if what == "takes":
        Event().wait(float(number))
    elif what == "leaks":
        KEPT.append(Leaked(int(number)))
    elif what == "eats":
        eat(int(number))
