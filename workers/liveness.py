"""Is a worker doing its work? A judgement over what its event loop says and what waits in the broker; pure, time is passed in.

Two things can be wrong. The loop stands still: it says so itself once a second, and its silence is the sign. Or the consumer
is wedged: the same message heads a queue that it is to claim from, it has room, and it holds nothing of that queue. No load,
outage or pause looks like that: a busy worker has no room, a paused queue and one whose order another consumer
holds are not its to take, and while the broker does not answer there is no judgement.

The loop writes, the watchdog's thread and the probe's read: every field is replaced as a whole.
"""

from collections.abc import Mapping
from typing import Literal, NamedTuple

from shared.broker.standing import Standing

State = Literal["starting", "connecting", "consuming", "stopping"]

STARTING_SECONDS_MAX = 120.0
"""Until the loop turns first, broker and all: the slowest start seen on a busy machine took 40."""

NO_LEASE = "(no lease)"
"""Stands for a queue while the consumer has no place in the fleet at all: nothing is its own then, and that is the fault."""


class Beat(NamedTuple):
    """What the loop said last.

    Args:
        at: when, by the monotonic clock.
        standing: None unless it consumes.
    """

    at: float
    state: State
    standing: Standing | None = None


class Liveness:
    """See the module.

    Args:
        stall_seconds: how long work may wait, or the loop be silent.
        now: the monotonic clock.
    """

    def __init__(self, stall_seconds: float, now: float) -> None:
        self._stall_seconds = stall_seconds
        self._beat = Beat(now, "starting")
        self._heads: dict[str, tuple[bytes, float]] = {}  # queue: its head, and for how many observed seconds it is that
        self._looked_at: float | None = None
        self._mended_at = now

    @property
    def state(self) -> State:
        """What the worker is doing."""
        return self._beat.state

    def beat(self, now: float, state: State, standing: Standing | None = None) -> None:
        """The loop turns. A worker that stops says nothing else any more."""
        if self._beat.state != "stopping":
            self._beat = Beat(now, state, standing)

    def judged(self, now: float) -> Standing | None:
        """The standing to hold against the broker; None while there is nothing to judge."""
        silent = now - self._beat.at > min(5.0, self._stall_seconds / 2)
        return None if silent or self._beat.state != "consuming" else self._beat.standing

    def observe(self, heads: Mapping[str, bytes] | None, now: float) -> None:
        """What waits for this consumer and is not taken: the head of each such queue.

        None when that is not known: that time does not count, and what was seen before is not forgotten, or a consumer that
        begins anew again and again would never be found out.
        """
        if heads is None:
            self._looked_at = None
            return
        passed = now - self._looked_at if self._looked_at is not None else 0.0
        before, self._looked_at = self._heads, now
        seen = {
            queue: (head, before[queue][1] + passed if queue in before and before[queue][0] == head else 0.0)
            for queue, head in heads.items()
        }
        # Without a lease nothing can be said of the queues: what was seen of them stands as it is.
        self._heads = {**before, **seen} if NO_LEASE in heads else seen

    def wedged(self) -> tuple[str, float]:
        """The queue that has waited longest, and for how many seconds; empty and 0 when none does."""
        queue, (_, seconds) = max(self._heads.items(), key=lambda each: each[1][1], default=("", (b"", 0.0)))
        return queue, seconds

    def mend_due(self, now: float) -> bool:
        """Whether the consumer should begin anew now: after half of the time that a probe gives it, and each half again."""
        half = self._stall_seconds / 2
        if self.wedged()[1] < half or now - self._mended_at < half:
            return False
        self._mended_at = now
        return True

    def fault(self, now: float) -> str:
        """Why this worker should be ended, in one line; empty while it should not."""
        beat = self._beat
        if beat.state == "stopping":
            return ""  # it is bounded by `drain_seconds` already
        silent = now - beat.at
        if silent > (STARTING_SECONDS_MAX if beat.state == "starting" else self._stall_seconds):
            return f"the event loop has stood still for {silent:.0f} s while {beat.state}"
        queue, seconds = self.wedged()
        if seconds >= self._stall_seconds:
            return f"{queue} has waited for {seconds:.0f} s, and this worker, which has room, does not take from it"
        return ""
