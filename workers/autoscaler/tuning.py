"""The policy's numbers."""

from typing import NamedTuple


class Tuning(NamedTuple):
    """How quickly it grows, shrinks and forgets.

    Args:
        utilisation: share of a worker's capacity that the load may take, 0 to 1: at 0.8 a burst of a quarter is absorbed.
        drain_seconds: a backlog is to be gone within this.
        up_seconds: between two decisions to grow: a started worker consumes after some 4 s, and then the rates tell more.
        stable_seconds: fewer must suffice for this long: longer than the minute after which a burst often returns.
        step_seconds: between two workers let go: its lanes are spread anew, and the lag shows whether it was missed.
        trust_seconds: what a worker can do is believed for this long in calm, see `trust`. Putting a right figure to the test
            costs a few seconds of lag, so not twice in an hour.
    """

    utilisation: float = 0.8
    drain_seconds: float = 20.0
    up_seconds: float = 5.0
    stable_seconds: float = 120.0
    step_seconds: float = 30.0
    trust_seconds: float = 3_600.0


TUNING = Tuning()


def tuned(drain_seconds: float, stable_seconds: float) -> Tuning:
    """By a fleet's settings; a step down takes a quarter of ``stable_seconds``."""
    return TUNING._replace(drain_seconds=drain_seconds, stable_seconds=stable_seconds, step_seconds=stable_seconds / 4)
