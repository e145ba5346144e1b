"""How long the oldest message of a list has waited, when it does not say so itself: a stock client's carries no time.

At each look the newest message is remembered with the time, as a mark; messages are taken from the other end, so while a mark is
still in the list, everything in front of it is older than the mark. The answer is the age of the oldest mark that is there: less
than the truth by at most the time between two looks (a few times that, once marks have been thinned out).
"""

from collections import deque
from collections.abc import Iterable
from typing import NamedTuple

import redis

MARKS_MAX = 128
"""For one list: every other is dropped beyond it, so ten minutes are known to 5 s and an hour to 30 s."""

MARK_BYTES_MAX = 16 * 1024
"""A larger message is no mark: looking for one sends it to the server."""


class Mark(NamedTuple):
    """The newest message of a list at some time, monotonic seconds."""

    payload: bytes
    seen_at: float


class Marks:
    """The marks of each list; whoever asks for a list less is forgotten with it."""

    def __init__(self) -> None:
        self._marks: dict[str, deque[Mark]] = {}

    def ages(self, broker: redis.Redis, lists: Iterable[str], now: float) -> dict[str, float]:
        """Seconds that the oldest message of each list has waited at least.

        Args:
            broker: answers with bytes.
            lists: those that hold messages whose oldest does not say since when.
            now: monotonic seconds.

        Raises redis.RedisError. A list costs two commands a look, and one more for each mark that has gone; the server
        walks through the list from its old end until it meets the mark.
        """
        self._marks = {name: self._marks.get(name, deque()) for name in lists}
        return {name: self._age(broker, name, marks, now) for name, marks in self._marks.items()}

    def _age(self, broker: redis.Redis, name: str, marks: deque[Mark], now: float) -> float:
        while marks and broker.lpos(name, marks[0].payload, rank=-1) is None:  # type: ignore[arg-type]
            marks.popleft()
        newest = broker.lindex(name, 0)
        if isinstance(newest, bytes) and len(newest) <= MARK_BYTES_MAX and not (marks and marks[-1].payload == newest):
            marks.append(Mark(newest, now))
        if len(marks) > MARKS_MAX:
            self._marks[name] = deque(list(marks)[::2])
        return now - marks[0].seen_at if marks else 0.0
