"""Replays recorded load against the policy: what would the autoscaler have done? Pure, some 20 us a simulated second.

The fleet is a model of few parts: each worker does ``service`` messages a second, oldest first; one that is started consumes
after ``start_seconds``; one that is let go finishes what it holds, and what it holds is a part of the backlog. The policy sees
this fleet through the same meter as a real one.
"""

import itertools
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from workers.autoscaler.meter import Meter
from workers.autoscaler.policy import Bounds, Decision, decide
from workers.autoscaler.sample import Sample
from workers.autoscaler.tuning import TUNING, Tuning

KIND = "messages"


class Model(NamedTuple):
    """The fleet that is simulated.

    Args:
        service: messages a second that one worker does.
        start_seconds: from the decision to a consuming worker.
        batch: messages in a batch, see `Meter`.
    """

    service: float
    start_seconds: int = 5
    batch: int = 400


class Second(NamedTuple):
    """One second of the run.

    Args:
        arrivals: messages that came in.
        backlog: messages left at its end.
        lag_seconds: age of the oldest of these.
        workers: that consumed.
        target: that were wanted at its end.
    """

    arrivals: int
    backlog: int
    lag_seconds: float
    workers: int
    target: int


def simulate(
    arrivals: Sequence[int],
    model: Model,
    bounds: Bounds,
    tuning: Tuning = TUNING,
    *,
    known: float | None = None,
    pace: Callable[[int], float] = lambda _: 1.0,
) -> list[Second]:
    """A second for each of ``arrivals``, messages in that second.

    Args:
        known: what one worker does, when the policy is told; else it learns it.
        pace: second -> share of its rate that a worker does then; less than 1 is a stall.
    """
    fleet = _Fleet(model, bounds.least)
    meter = Meter(model.batch, known, least=bounds.least, tuning=tuning)
    decision = Decision(bounds.least)
    seconds = []
    for at, came in enumerate(arrivals):
        fleet.live(at, came, pace(at))
        if seen := meter.observe(fleet.sample(at)):
            decision = decide(decision, seen, bounds, tuning)
            fleet.set(decision.target, at)
        seconds.append(Second(came, fleet.backlog, fleet.lag(at), fleet.workers, decision.target))
    return seconds


def turns(seconds: Sequence[Second]) -> int:
    """How often the target changed its direction: growing after it shrank, or the other way round."""
    steps = [after.target - before.target for before, after in itertools.pairwise(seconds)]
    ways = [step > 0 for step in steps if step]
    return sum(one != other for one, other in itertools.pairwise(ways))


def recovery(seconds: Sequence[Second], holds: Callable[[Second], bool], start: int) -> int | None:
    """Seconds from ``start`` until ``holds`` is true for good; None when it is not at the end."""
    last = max((at for at in range(start, len(seconds)) if not holds(seconds[at])), default=start - 1)
    return None if last == len(seconds) - 1 else last + 1 - start


class _Fleet:
    def __init__(self, model: Model, workers: int) -> None:
        self._model = model
        self.workers = workers
        self._starting: deque[int] = deque()  # when each consumes
        self._queue: deque[list[int]] = deque()  # [second of arrival, messages left], oldest first
        self._settled = 0
        self._unspent = 0.0  # of what was possible: a worker does not do half a message

    @property
    def backlog(self) -> int:
        return sum(left for _, left in self._queue)

    def live(self, at: int, came: int, pace: float) -> None:
        while self._starting and self._starting[0] <= at:
            self._starting.popleft()
            self.workers += 1
        if came:
            self._queue.append([at, came])
        possible = self.workers * self._model.service * pace + self._unspent
        done = int(possible)
        self._unspent = possible - done
        while done and self._queue:
            oldest = self._queue[0]
            part = min(done, oldest[1])
            oldest[1] -= part
            done -= part
            self._settled += part
            if not oldest[1]:
                self._queue.popleft()
        if done:
            self._unspent = 0.0

    def lag(self, at: int) -> float:
        return float(at - self._queue[0][0]) if self._queue else 0.0

    def set(self, target: int, at: int) -> None:
        while self.workers + len(self._starting) < target:
            self._starting.append(at + self._model.start_seconds)
        while self.workers + len(self._starting) > target:
            if self._starting:
                self._starting.pop()
            else:
                self.workers -= 1

    def sample(self, at: int) -> Sample:
        held = min(self.backlog, self.workers * 4 * self._model.batch)  # what the prefetch window of a real one holds
        return Sample(at, {KIND: self._settled}, {KIND: self.backlog - held}, held, self.lag(at), self.workers)
