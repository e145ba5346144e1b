"""What the sending side saw: which messages were sent and acknowledged, how long that took, and what was refused meanwhile.

Nine bytes a message. Latencies are kept whole, so that percentiles are exact.
"""

import math
from array import array
from collections import Counter
from collections.abc import Sequence
from typing import NamedTuple


class Latency(NamedTuple):
    """Exact percentiles, in milliseconds; all NaN when there is no sample."""

    p50: float
    p95: float
    p99: float
    max: float


class Recorder:
    """One run's sending side.

    Args:
        planned: messages of the run.
    """

    def __init__(self, planned: int) -> None:
        self.accepted = bytearray(planned)
        self.acknowledgement = array("d")
        """Seconds from due to acknowledged."""
        self.sent = 0
        self.refused = 0
        """Messages of which every answer said that they were not taken, so that none of them can be stored."""
        self.refusals: Counter[str] = Counter()
        """Answers other than an acknowledgement, by reason; each but the last of a message was followed by a retry."""
        self.unsent = 0
        """Messages that were due and never sent: the run was interrupted, or too many waited."""
        self.pacer_lag_seconds_max = 0.0
        """How late the generator itself was: a high value means that it, not the fleet, was short of CPU."""

    @property
    def accepted_count(self) -> int:
        """Messages acknowledged so far."""
        return len(self.acknowledgement)

    @property
    def uncertain(self) -> int:
        """Messages sent that may be stored or not: an answer was lost, came too late or did not say."""
        return self.sent - self.accepted_count - self.refused

    def acknowledged(self, number: int, seconds: float) -> None:
        """Message ``number`` was accepted, ``seconds`` after it was due."""
        self.accepted[number] = 1
        self.acknowledgement.append(seconds)


def latency_of(seconds: Sequence[float]) -> Latency:
    """The percentiles of samples in seconds, by nearest rank: each is a value that occurred."""
    if not seconds:
        return Latency(math.nan, math.nan, math.nan, math.nan)
    ordered = sorted(seconds)
    at = [ordered[math.ceil(share * len(ordered)) - 1] for share in (0.50, 0.95, 0.99)]
    return Latency(*(round(value * 1000, 3) for value in (*at, ordered[-1])))
