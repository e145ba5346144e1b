"""Waiting for a named condition with a deadline: what tests do instead of sleeping."""

import threading
import time
from collections.abc import Callable
from typing import TypeVar

T = TypeVar("T")


def eventually(what: str, condition: Callable[[], T], *, within: float = 15.0, every: float = 0.05) -> T:
    """The first truthy answer of ``condition``; fails naming ``what`` when there is none within ``within`` seconds."""
    deadline = time.monotonic() + within
    pause = threading.Event()
    while not (answer := condition()):
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {within:g} s; the last answer was {answer!r}")
        pause.wait(every)
    return answer
