"""When which fault comes: made of a seed, so that the seed brings it back."""

import random
import threading
import time
from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple


class Fault(NamedTuple):
    """One injection.

    Args:
        at: seconds after the start.
        kind: what is done.
        target: which of those it can be done to; taken modulo their number.
    """

    at: float
    kind: str
    target: int

    def __str__(self) -> str:
        return f"{self.at:6.2f} s {self.kind} {self.target}"


def schedule(dice: random.Random, kinds: Sequence[str], count: int, every: float) -> list[Fault]:
    """``count`` faults, a kind as often as the others, ``every`` seconds apart on average."""
    chosen = [kinds[number % len(kinds)] for number in range(count)]
    dice.shuffle(chosen)
    faults, at = [], 0.0
    for kind in chosen:
        at += dice.uniform(0.2, 1.8) * every
        faults.append(Fault(round(at, 3), kind, dice.randrange(64)))
    return faults


def inject(faults: Sequence[Fault], actions: Mapping[str, Callable[[int], object]]) -> None:
    """Do each at its time, or as soon after it as the one before is done; prints the schedule."""
    print(*("schedule", *faults), sep="\n  ")  # noqa: T201
    started, pause = time.monotonic(), threading.Event()
    for fault in faults:
        pause.wait(max(0.0, fault.at - (time.monotonic() - started)))
        actions[fault.kind](fault.target)
