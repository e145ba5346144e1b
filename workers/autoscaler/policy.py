"""How many workers there should be: a pure function of what is seen, what was decided before, and the bounds.

Up, at once and by as many as are needed: enough for what comes in, and to work off the backlog in `drain_seconds`::

    ceil(arrivals / (service * utilisation) + backlog / (service * drain_seconds))

Down, slowly: one at a time, once fewer have sufficed for `stable_seconds` without a break, and one more each `step_seconds`.
The two differ by a whole worker's capacity and two minutes of time, so noise moves nothing.
"""

import math
from typing import NamedTuple

from workers.autoscaler.meter import Seen


class Tuning(NamedTuple):
    """The policy's numbers.

    Args:
        utilisation: share of a worker's capacity that the load may take, 0 to 1: at 0.8 a burst of a quarter is absorbed.
        drain_seconds: a backlog is to be gone within this.
        up_seconds: between two decisions to grow: a started worker consumes after some 4 s, and then the rates tell more.
        stable_seconds: fewer must suffice for this long: longer than the minute after which a burst often returns.
        step_seconds: between two workers let go: its lanes are spread anew, and the lag shows whether it was missed.
    """

    utilisation: float = 0.8
    drain_seconds: float = 20.0
    up_seconds: float = 5.0
    stable_seconds: float = 120.0
    step_seconds: float = 30.0


TUNING = Tuning()


def tuned(drain_seconds: float, stable_seconds: float) -> Tuning:
    """By a fleet's settings; a step down takes a quarter of ``stable_seconds``."""
    return TUNING._replace(drain_seconds=drain_seconds, stable_seconds=stable_seconds, step_seconds=stable_seconds / 4)


class Bounds(NamedTuple):
    """What may not be left.

    Args:
        least: workers, 1 or more.
        most: workers, ``least`` or more.
        room: further workers that the host's memory has room for, negative when it is short; None: unbounded.
    """

    least: int
    most: int
    room: int | None = None


class Decision(NamedTuple):
    """How many, and what the next decision must know.

    Args:
        target: workers wanted.
        reason: in words, for the log.
        grown_at: when it grew last, monotonic seconds.
        shrunk_at: when it shrank last.
        low_since: since when fewer would do; None: they would not.
        low_need: the most that were needed since then.
    """

    target: int
    reason: str = ""
    grown_at: float = -math.inf
    shrunk_at: float = -math.inf
    low_since: float | None = None
    low_need: int = 0


def need(seen: Seen, tuning: Tuning) -> int | None:
    """Workers that the load asks for, bounds aside; None when that cannot be told."""
    if seen.stalled or not seen.service:
        return None
    load = seen.arrivals / (seen.service * tuning.utilisation) + seen.backlog / (seen.service * tuning.drain_seconds)
    return max(1, math.ceil(load - 1e-9))


def decide(before: Decision, seen: Seen, bounds: Bounds, tuning: Tuning = TUNING) -> Decision:
    """The next decision. Its target is always within ``bounds.least`` and ``bounds.most``."""
    target = min(max(before.target, bounds.least), bounds.most)
    if target != before.target:
        return before._replace(target=target, reason="bounds", low_since=None)
    if bounds.room is not None and bounds.room < 0:
        return _yield_memory(before, seen, bounds, tuning)
    asked = need(seen, tuning)
    if asked is None:
        return before._replace(reason="nothing is done" if seen.stalled else "nothing learned yet", low_since=None)
    wanted = min(max(asked, bounds.least), bounds.most)
    if bounds.room is not None:
        wanted = min(wanted, target + bounds.room)
    if wanted > target:
        return _grow(before, seen, wanted, tuning)
    if wanted < target:
        return _shrink(before, seen, wanted, tuning)
    return before._replace(reason="enough", low_since=None)


def _grow(before: Decision, seen: Seen, wanted: int, tuning: Tuning) -> Decision:
    if seen.at - before.grown_at < tuning.up_seconds:
        return before._replace(reason="has just grown", low_since=None)
    return before._replace(target=wanted, reason="load", grown_at=seen.at, low_since=None)


def _shrink(before: Decision, seen: Seen, wanted: int, tuning: Tuning) -> Decision:
    if before.low_since is None:
        return before._replace(reason="fewer would do", low_since=seen.at, low_need=wanted)
    low = before._replace(reason="fewer would do", low_need=max(before.low_need, wanted))
    if seen.at - before.low_since < tuning.stable_seconds or seen.at - before.shrunk_at < tuning.step_seconds:
        return low
    if low.low_need >= before.target:  # so many were needed in this time, and are not any more: look again
        return low._replace(low_since=seen.at, low_need=wanted)
    return low._replace(target=before.target - 1, reason="fewer have sufficed", shrunk_at=seen.at)


def _yield_memory(before: Decision, seen: Seen, bounds: Bounds, tuning: Tuning) -> Decision:
    """The host runs out of memory: one worker less at a time, whatever the load, but never under the least."""
    if before.target <= bounds.least or seen.at - before.shrunk_at < tuning.step_seconds:
        return before._replace(reason="memory is short", low_since=None)
    return before._replace(target=before.target - 1, reason="memory is short", shrunk_at=seen.at, low_since=None)
