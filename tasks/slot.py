"""What one pool slot runs next: the order of its lanes, and what becomes of a batch that failed.

Pure: time is passed in, ``now`` on a monotonic clock and ``wall`` since 1970, both in seconds.

A slot has one batch in flight and takes what waits in its lanes, oldest first. A lane that waits for a retry is passed over
whole, so its order holds while its neighbours go on. A batch that failed runs again in halves, until the message at fault
stands alone: each member carries the size (`limit`) of the largest batch that it may still run in.
"""

from collections import deque
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

from shared.clock import from_epoch
from shared.outcome import Retry
from shared.retry import backoff_seconds
from shared.topology import kind_of
from tasks.member import Wire

LANE_WAIT_SECONDS_MAX = 10.0
"""A message may hold its lane for this long in all by Retry; then it is a dead letter and the lane goes on."""

RETRY_SECONDS_MIN = 0.05
"""A handler that asks for none gets this pause: it would hold its lane for ever, and a core with it."""

UNBURIED_SECONDS = 5.0
"""Between two attempts to bury one message, should that fail by the message itself: nobody is to spin on it."""

LOST_ALONE_MAX = 2
"""A message whose child died or timed out this often while it ran alone is a dead letter."""


@dataclass(slots=True, eq=False)
class Pending:
    """A message in the worker's hands, with what has happened to it so far.

    Args:
        queue: its lane; messages of one lane keep their order.
        token: the claim's, by which it is settled.
        payload: as it stood in the queue.
        claimed_at: wall-clock seconds.
        channel: `shared.broker.channel.Channel`, whose claim it is.
        limit: the largest batch that it may run in, 1 or more.
        suspect: a worker died with it, so it is marked in the broker while it runs alone.
    """

    queue: str
    token: str
    payload: bytes
    claimed_at: float
    channel: Any
    limit: int
    suspect: bool = False
    raised_alone: int = 0
    lost_alone: int = 0
    waited_seconds: float = 0.0
    verdict: str = ""
    history: list[dict[str, Any]] = field(default_factory=list)

    def wire(self) -> Wire:
        """What a child needs of it."""
        return Wire(self.queue, self.token, self.payload, self.claimed_at, self.history, self.verdict)

    @property
    def kind(self) -> str:
        """A batch is of one kind."""
        return kind_of(self.queue)

    def give_up(self, reason: str) -> None:
        """The next batch buries it, alone: its neighbours are not to wait for it."""
        self.verdict, self.limit = reason, 1

    def record(self, outcome: str, reason: str, wall: float, worker: str) -> None:
        """One more line of its history; ``wall`` in seconds since 1970."""
        entry = {"at": from_epoch(wall).isoformat(), "outcome": outcome, "reason": reason, "worker": worker}
        self.history = [*self.history, entry]


class Slot:
    """The messages of some lanes, in order.

    Args:
        messages_max: messages in one batch.
        bytes_max: bytes of payloads in one batch; a larger single message still runs, alone.
        attempts_max: runs alone before a message whose handler raises is given up.
        worker: the worker's name, for histories.
    """

    def __init__(self, *, messages_max: int, bytes_max: int, attempts_max: int, worker: str) -> None:
        self.messages_max = messages_max
        self.bytes_max = bytes_max
        self.attempts_max = attempts_max
        self.worker = worker
        self.running = False
        self.outages = 0
        self.paused_until = 0.0
        self._waiting: dict[str, deque[Pending]] = {}  # by kind; the first one has its turn
        self._held: dict[str, float] = {}  # lane: when it may go on

    def __len__(self) -> int:
        return sum(len(waiting) for waiting in self._waiting.values())

    def add(self, pending: Pending) -> None:
        """One more message, behind the others of its lane."""
        self._waiting.setdefault(pending.kind, deque()).append(pending)

    def clear(self) -> list[Pending]:
        """Forget all that waits, and return it: its claims are lost, or to be given back."""
        waiting = [pending for each in self._waiting.values() for pending in each]
        self._waiting.clear()
        self._held.clear()
        return waiting

    def next_batch(self, now: float) -> list[Pending]:
        """What to run now: members of one kind, at most the smallest of their limits; empty when there is nothing."""
        if self.running or now < self.paused_until:
            return []
        self._held = {lane: until for lane, until in self._held.items() if until > now}
        for kind in list(self._waiting):
            waiting = self._waiting.pop(kind)
            batch = self._take(waiting)
            if waiting:
                self._waiting[kind] = waiting  # to the end: the other kind has its turn
            if batch:
                self.running = True
                return batch
        return []

    def wake_at(self, now: float) -> float | None:
        """When `next_batch` may have something again, if only time stands in the way."""
        if self.running or not len(self):
            return None
        return max(self.paused_until, min(self._held.values(), default=now))

    def _take(self, waiting: deque[Pending]) -> list[Pending]:
        batch: list[Pending] = []
        passed: list[Pending] = []
        most, size = self.messages_max, 0
        while waiting:
            head = waiting[0]
            if head.queue in self._held:
                passed.append(waiting.popleft())
                continue
            most = min(most, head.limit)
            size += len(head.payload)
            if batch and (len(batch) >= most or size > self.bytes_max):
                break
            batch.append(waiting.popleft())
        waiting.extendleft(reversed(passed))
        return batch

    def settled(self) -> None:
        """The batch in flight had its effect."""
        self.running, self.outages = False, 0

    def retried(self, retries: Sequence[tuple[Pending, Retry]], now: float, wall: float) -> None:
        """Members whose handler asked for another try: each holds its lane, for LANE_WAIT_SECONDS_MAX in all."""
        for pending, retry in retries:
            pending.record("retry", retry.reason, wall, self.worker)
            pause = max(RETRY_SECONDS_MIN, retry.after)
            if pending.waited_seconds + pause > LANE_WAIT_SECONDS_MAX:
                pending.give_up(f"not done after {LANE_WAIT_SECONDS_MAX:.0f} s of retries: {retry.reason}")
            else:
                pending.waited_seconds += pause
                self._hold(pending.queue, now + pause)
        self._put_back(pending for pending, _ in retries)

    def outage(self, batch: Sequence[Pending], now: float) -> float:
        """A dependency is out: nobody's fault, not counted; the batch waits. Returns the pause in seconds."""
        self.running = False
        self.outages += 1
        pause = backoff_seconds(self.outages, first=0.1, most=5)
        self.paused_until = now + pause
        self._put_back(batch)
        return pause

    def failed(self, batch: Sequence[Pending], reason: str, now: float, wall: float, *, lost: bool) -> None:
        """The handler raised, or (``lost``) the child died or ran out of time: halve the batch, or count against the one.

        A batch that failed had no effect, or one that a rerun recognises.
        """
        self.running = False
        for pending in batch:
            if pending.verdict:  # its history is complete
                self._hold(pending.queue, now + UNBURIED_SECONDS)
                continue
            pending.record("lost" if lost else "raised", f"{reason} (in a batch of {len(batch)})", wall, self.worker)
            pending.limit = min(pending.limit, max(1, len(batch) // 2))
        if len(batch) == 1 and not batch[0].verdict:
            self._count(batch[0], reason, now, lost=lost)
        self._put_back(batch)

    def _count(self, alone: Pending, reason: str, now: float, *, lost: bool) -> None:
        if lost:
            alone.lost_alone += 1
            if alone.lost_alone >= LOST_ALONE_MAX:
                alone.give_up(f"lost {alone.lost_alone} times while running alone: {reason}")
            return
        alone.raised_alone += 1
        if alone.raised_alone >= self.attempts_max:
            alone.give_up(f"raised {alone.raised_alone} times: {reason}")
        else:
            self._hold(alone.queue, now + backoff_seconds(alone.raised_alone, first=0.1, most=1))

    def _hold(self, lane: str, until: float) -> None:
        self._held[lane] = max(until, self._held.get(lane, 0.0))

    def _put_back(self, batch: Iterable[Pending]) -> None:
        for pending in reversed(list(batch)):
            self._waiting.setdefault(pending.kind, deque()).appendleft(pending)
