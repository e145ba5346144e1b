"""How many workers there should be: a pure function of what is seen, what was decided before, and the bounds.

Up, at once and by as many as are needed: enough for what comes in, and to work off the backlog in `drain_seconds`::

    ceil(arrivals / (service * utilisation) + backlog / (service * drain_seconds))

Down, slowly: one at a time, once fewer have sufficed for `stable_seconds` without a break, and one more each `step_seconds`.
The two differ by a whole worker's capacity and two minutes of time, so noise moves nothing.
A step down that is undone within `stable_seconds` was a mistake, by a figure that is a little too high or among bursts: after it
the next step down waits for twice as long, counted from the last growth. A long calm ends that.

While it is not known what a worker can do, fewer suffice for as long as they are not busy: that is how it becomes known.
"""

import math
from typing import NamedTuple

from workers.autoscaler.meter import Seen
from workers.autoscaler.tuning import TUNING, Tuning

PATIENCE_MAX = 32
"""Times `stable_seconds`, an hour as shipped: then the figure itself is forgotten (`trust`)."""


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
        patience: after a growth the next step down waits for so many times `stable_seconds`, 1 to `PATIENCE_MAX`.
        known_since: since when it has been known without a break how many are needed; None: it is not.
        recent: of the last `stable_seconds`, (when, how many were needed), each more than all that came after it. So the first
            is the most, and there are no more of them than there are numbers within the bounds.
    """

    target: int
    reason: str = ""
    grown_at: float = -math.inf
    shrunk_at: float = -math.inf
    patience: int = 1
    known_since: float | None = None
    recent: tuple[tuple[float, int], ...] = ()


def need(seen: Seen, tuning: Tuning) -> int | None:
    """Workers that the load asks for, bounds aside; None when that cannot be told."""
    if seen.stalled:
        return None
    if not seen.service:
        return None if seen.busy else 1
    load = seen.arrivals / (seen.service * tuning.utilisation) + seen.backlog / (seen.service * tuning.drain_seconds)
    return max(1, math.ceil(load - 1e-9))


def decide(before: Decision, seen: Seen, bounds: Bounds, tuning: Tuning = TUNING) -> Decision:
    """The next decision. Its target is always within ``bounds.least`` and ``bounds.most``."""
    target = min(max(before.target, bounds.least), bounds.most)
    if target != before.target:
        return before._replace(target=target, reason="bounds")
    if bounds.room is not None and bounds.room < 0:
        return _yield_memory(before, seen, bounds, tuning)
    asked = need(seen, tuning)
    if asked is None:
        return before._replace(reason="nothing is done" if seen.stalled else "nothing learned yet", known_since=None, recent=())
    wanted = min(max(asked, bounds.least), bounds.most)
    if bounds.room is not None:
        wanted = min(wanted, target + bounds.room)
    known = _remembered(before, seen.at, wanted, tuning)
    if wanted > target:
        return _grow(known, seen, wanted, tuning)
    return _shrink(known, seen, tuning)


def _remembered(before: Decision, at: float, wanted: int, tuning: Tuning) -> Decision:
    kept = tuple(each for each in before.recent if at - each[0] < tuning.stable_seconds and each[1] > wanted)
    return before._replace(known_since=at if before.known_since is None else before.known_since, recent=(*kept, (at, wanted)))


def _grow(before: Decision, seen: Seen, wanted: int, tuning: Tuning) -> Decision:
    if seen.at - before.grown_at < tuning.up_seconds:
        return before._replace(reason="has just grown")
    undone = before.grown_at < before.shrunk_at and seen.at - before.shrunk_at < tuning.stable_seconds
    patience = min(2 * before.patience, PATIENCE_MAX) if undone else before.patience
    return before._replace(target=wanted, reason="load", grown_at=seen.at, patience=patience)


def _shrink(before: Decision, seen: Seen, tuning: Tuning) -> Decision:
    if before.recent[0][1] >= before.target:
        return before._replace(reason="enough")
    watched = seen.at - (before.known_since or 0.0)
    if watched < tuning.stable_seconds or seen.at - before.shrunk_at < tuning.step_seconds:
        return before._replace(reason="fewer would do")
    calm, wait = seen.at - before.grown_at, tuning.stable_seconds * before.patience
    if calm < wait:
        return before._replace(reason="fewer did not suffice lately")
    patience = 1 if calm >= 2 * wait else before.patience
    return before._replace(target=before.target - 1, reason="fewer have sufficed", shrunk_at=seen.at, patience=patience)


def _yield_memory(before: Decision, seen: Seen, bounds: Bounds, tuning: Tuning) -> Decision:
    """The host runs out of memory: one worker less at a time, whatever the load, but never under the least."""
    if before.target <= bounds.least or seen.at - before.shrunk_at < tuning.step_seconds:
        return before._replace(reason="memory is short")
    return before._replace(target=before.target - 1, reason="memory is short", shrunk_at=seen.at)
