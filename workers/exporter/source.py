"""What the exporter asks: a server, the gauges that it fills, and what becomes of them when it does not answer."""

import math
from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple

from shared.metrics import Gauge

Labels = tuple[str, ...]


class Readings:
    """One gauge and every set of labels that it has shown.

    A set of labels that is gone from the answer shows ``absent``, and one whose server is away NaN, which Prometheus draws as a
    gap: never the last value for ever.

    Args:
        gauge: of `shared.metrics`.
        known: labels to show from the start.
        absent: for labels that were shown once and are not in an answer.
    """

    def __init__(self, gauge: Gauge, known: Iterable[Labels] = (), absent: float = 0) -> None:
        self._gauge = gauge
        self._known = set(known)
        self._absent = absent

    def show(self, values: Mapping[Labels, float]) -> None:
        """The answer; the key of a gauge without labels is ``()``."""
        self._known.update(values)
        for labels in self._known:
            self._set(labels, values.get(labels, self._absent))

    def unknown(self) -> None:
        """There is no answer."""
        for labels in self._known:
            self._set(labels, math.nan)

    def _set(self, labels: Labels, value: float) -> None:
        (self._gauge.labels(*labels) if labels else self._gauge).set(value)


class Source(NamedTuple):
    """A part of what the exporter shows.

    Args:
        target: the server's name, label of `headrace_exporter_up`.
        read: asks it and shows the answer in ``readings``; raises what `shared.db.outage` knows when there is none.
        readings: of these gauges.
    """

    target: str
    read: Callable[[], None]
    readings: tuple[Readings, ...]
