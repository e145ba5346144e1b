"""The open-loop schedule: message i is due at i / rate, whatever became of the messages before it.

Due times are computed from the message's number, never by adding intervals, so the schedule cannot drift; and latency counts
from the due time, so a fleet that stalls is charged for every message that it kept waiting (no coordinated omission).
"""

from typing import NamedTuple

RATE_MAX = 50_000
"""Messages a second; beyond it one process could not keep the schedule."""

DURATION_SECONDS_MAX = 86_400
"""A day."""

MESSAGES_MAX = 10_000_000
"""Of one run. The account needs at most 60 bytes for each: 0.6 GB."""


class Pacer(NamedTuple):
    """A constant rate.

    Args:
        rate: messages a second, above 0 and at most RATE_MAX.
        planned: messages in all, 1 to MESSAGES_MAX.
    """

    rate: float
    planned: int

    def at(self, number: int) -> float:
        """When message ``number``, counted from 0, is due: seconds after the start."""
        return number / self.rate

    def due(self, elapsed: float) -> int:
        """How many messages are due ``elapsed`` seconds after the start: exactly those with ``at(number) <= elapsed``."""
        if elapsed < 0:
            return 0
        due = int(elapsed * self.rate) + 1
        # The product may round to the other side of a due time than the quotient did.
        if self.at(due - 1) > elapsed:
            due -= 1
        elif self.at(due) <= elapsed:
            due += 1
        return min(due, self.planned)
