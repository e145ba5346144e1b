"""From samples to what the policy decides by: how fast work comes in, how fast it is done, what one worker can do. Pure.

Work that came in is what was settled and what the backlog grew by. What a worker can do shows only while all of them are
busy: then it is what was settled, divided by how many there are. It is learned then, a fresh figure weighing 0.3, and kept
for a while (`trust`); a worker that was seen doing more than that can do more.
"""

from collections import Counter, deque
from itertools import takewhile
from typing import NamedTuple

from workers.autoscaler.sample import Sample
from workers.autoscaler.trust import Trust
from workers.autoscaler.tuning import TUNING, Tuning

WINDOW_SECONDS = 5.0
"""Rates are over this: long enough to even out single seconds, short enough that a step of load is seen whole in five."""

SETTLING_SECONDS = 5.0
"""After a worker came or went nothing is learned: lanes change hands, a new one's caches are cold."""

LEARN_SECONDS = 3.0
"""Busy for at least this long: a batch of a slow handler takes as long, and what is settled comes in lumps of one."""

LEARNING = 0.3
"""Weight of a fresh figure: three of them replace what was known."""

BUSY_SECONDS = 1.0
"""More work at hand than is done in this time, and the workers are busy (Little's law: it is also the time a message takes)."""


class Seen(NamedTuple):
    """The load, as rates.

    Args:
        at: monotonic seconds.
        arrivals: messages a second that come in.
        served: messages a second that are settled.
        backlog: messages taken and not settled.
        lag_seconds: age of the oldest waiting message.
        workers: that consume now.
        service: messages a second that one worker can do; None while nothing is known of it.
        busy: all workers have been, for long enough to learn from it.
        stalled: work waits, workers are there, and nothing at all is done: a dependency is out, and more workers are no help.
        shares: kind -> its part of the load, adding up to 1.
    """

    at: float
    arrivals: float
    served: float
    backlog: int
    lag_seconds: float
    workers: int
    service: float | None
    busy: bool
    stalled: bool
    shares: dict[str, float]


class Meter:
    """Keeps the samples of a few seconds.

    Args:
        batch: messages in a worker's batch: as long as less is in flight for each worker, its slots are not all full.
        service: what one worker can do, when it is known beforehand; None: learn it.
        least: workers that always run: nothing is forgotten while no more do, for nothing could be given back.
        tuning: for how long to believe a figure.
    """

    def __init__(self, batch: int, service: float | None = None, *, least: int = 1, tuning: Tuning = TUNING) -> None:
        self._batch = batch
        self._service = service
        self._least = least
        self._trust = Trust(tuning, service)
        self._samples: deque[Sample] = deque()
        self._changed_at = float("-inf")

    def observe(self, sample: Sample) -> Seen | None:
        """One more sample, newer than the last; None until there are two."""
        samples = self._samples
        if samples and samples[-1].workers != sample.workers:
            self._changed_at = sample.at
        samples.append(sample)
        while sample.at - samples[0].at > WINDOW_SECONDS:
            samples.popleft()
        if len(samples) < 2:
            return None
        first = samples[0]
        seconds = sample.at - first.at
        settled = _settled(first, sample)
        grown = sample.backlog - first.backlog
        served, arrivals = settled.total() / seconds, max(0.0, (settled.total() + grown) / seconds)
        busy = list(takewhile(lambda each: self._is_busy(each, served), reversed(samples)))
        learnable = bool(busy) and sample.at - busy[-1].at >= LEARN_SECONDS
        if sample.workers and served and sample.at - self._changed_at >= SETTLING_SECONDS:
            if learnable:
                self._learn(busy[-1], sample)
            elif self._service is not None:
                self._keep(self._service, served, sample, calm=not busy)
        return Seen(
            at=sample.at,
            arrivals=arrivals,
            served=served,
            backlog=sample.backlog,
            lag_seconds=sample.oldest_seconds,
            workers=sample.workers,
            service=self._service,
            busy=learnable,
            stalled=seconds >= LEARN_SECONDS and sample.workers > 0 and not settled.total() and sample.backlog > 0,
            shares=_shares(settled, sample),
        )

    def _is_busy(self, sample: Sample, served: float) -> bool:
        waits = any(sample.waiting.values()) or sample.in_flight >= sample.workers * self._batch
        return waits and sample.backlog > served * BUSY_SECONDS

    def _learn(self, first: Sample, last: Sample) -> None:
        each = _settled(first, last).total() / (last.at - first.at) / last.workers
        if each:
            self._service = each if self._service is None else (1 - LEARNING) * self._service + LEARNING * each
            self._trust.taught()

    def _keep(self, service: float, served: float, sample: Sample, *, calm: bool) -> None:
        self._service = max(service, served / sample.workers)
        if calm and sample.workers > self._least and self._trust.ends(sample.at, self._service):
            self._service = None
            self._trust.forget()


def _settled(first: Sample, last: Sample) -> Counter[str]:
    """By kind, between two samples; a broker that lost its counters counts on from nothing."""
    return Counter({kind: max(0, count - first.settled.get(kind, 0)) for kind, count in last.settled.items()})


def _shares(settled: Counter[str], sample: Sample) -> dict[str, float]:
    load = {kind: settled[kind] + sample.waiting.get(kind, 0) for kind in {*settled, *sample.waiting}}
    whole = sum(load.values())
    return {kind: (part / whole if whole else 1 / len(load)) for kind, part in sorted(load.items())}
