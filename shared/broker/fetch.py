"""When to claim and what from: decisions only, no traffic.

A claim is worth its round trip when much of the window is free, so a busy consumer waits for that a moment; an idle one asks
at once when `waiting` gives a hint, and every second without one.
"""

from collections import deque
from collections.abc import Iterable
from typing import Any

from shared.broker import calls
from shared.broker.keys import EPOCH, lists_of
from shared.broker.lanes import is_single_active
from shared.topology import MESSAGES

PAUSE_SECONDS = 0.002
"""Between two claims that did not fill the credit: messages that trickle in are taken a few at a time, not one by one."""
PAUSE_LOW_SECONDS = 0.010
"""The same while less than half of the window is free. Slow tasks with few in flight still get their next one promptly."""
CLAIM_MAX = 1_000
"""Messages in one claim: some milliseconds of the server."""


class Fetch:
    """See the module.

    Args:
        qos: the channel's credit.
        bytes_max: bytes of payload in one claim, and in flight before another.
    """

    def __init__(self, qos: Any, bytes_max: int) -> None:
        self._qos = qos
        self._bytes_max = bytes_max
        self._queues: deque[str] = deque()
        self._claimed_at = 0.0
        self._asked = 0
        self._full = False
        self.names: list[bytes] = []
        """What is worth listening for: the queues that are claimed from, and that consumers came or went."""
        self.claiming = False
        """Whether an answer is awaited."""
        self.look = True
        """Whether there may be something to claim."""
        self.everywhere = True
        """Whether the lists of lesser urgency are due a look, too."""

    def share(self, queues: Iterable[str], mine: frozenset[str]) -> None:
        """Claim from these queues from now on; of the single-active ones, from ``mine``."""
        self._queues = deque(queue for queue in queues if queue in mine or not is_single_active(queue))
        self.names = [EPOCH.encode(), *(queue.encode() for queue in self._queues)]
        self.look = self.everywhere = True

    @property
    def queues(self) -> frozenset[str]:
        """What is claimed from."""
        return frozenset(self._queues)

    def has_room(self) -> bool:
        """Whether there is credit for more, in messages and in bytes."""
        return bool(self._qos.can_consume()) and sum(self._qos.sizes.values()) < self._bytes_max

    def pause(self, now: float) -> float | None:
        """Seconds until the next claim, 0 for at once; None when there is no reason or no credit for one."""
        qos = self._qos
        if self.claiming or not self.look or not self.has_room():
            return None
        low = qos.credit * 2 < qos.window
        pause = PAUSE_LOW_SECONDS if low else 0.0 if self._full else PAUSE_SECONDS
        return max(0.0, self._claimed_at + pause - now)

    def claim(self, consumer: str, now: float) -> calls.Call[calls.Claimed]:
        """The next claim. The queues take turns at being first. Without any it still tells whether consumers came or went."""
        self._queues.rotate(-1)
        lists = []
        for queue in self._queues:
            single = is_single_active(queue)
            lists += [(name, single) for name in (lists_of(queue) if self.everywhere or not single else [queue])]
        self.claiming, self.everywhere, self._claimed_at = True, False, now
        self._asked = min(self._qos.credit, CLAIM_MAX)
        return calls.claim(consumer, lists, self._asked, self._bytes_max)

    def answered(self, number: int) -> None:
        """The claim brought ``number`` messages."""
        self.claiming = False
        self._full = number >= self._asked
        self.look = number > 0

    def watched(self) -> str | None:
        """The list whose filling a stock producer would not announce: ``messages``, or else an unordered queue."""
        if MESSAGES in self._queues:
            return MESSAGES
        return next((queue for queue in sorted(self._queues) if not is_single_active(queue)), None)
