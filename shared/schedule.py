"""What beat sends and how often: one entry a task, each period with its reason. `workers.beat` reads it, `tasks.tick` runs it."""

from typing import NamedTuple
from uuid import UUID, uuid5

CACHE_WARM = "cache.warm"
STORE_PRUNE = "store.prune"

_TICKS = UUID("6f6e5c0c-7d2f-5a53-9f5b-0b6d1f6f1a11")
"""Namespace of the ids of ticks; any constant would do."""


class Entry(NamedTuple):
    """One task that runs again and again.

    Args:
        task: its name; the entry is called the same.
        period_seconds: from one tick to the next, above 0. Ticks lie on multiples of it since 1970, by the broker's clock, so
            that every beat there is means the same instant.
    """

    task: str
    period_seconds: float

    def due_ms(self, now_ms: int) -> int:
        """The last instant up to ``now_ms`` at which it was due; both in milliseconds since 1970."""
        period = self.period_ms
        return now_ms - now_ms % period

    @property
    def period_ms(self) -> int:
        """The period in whole milliseconds, 1 or more."""
        return max(1, round(self.period_seconds * 1000))


SCHEDULE = (
    # As long as an entry of a channel or key is fresh (`shared.cache.kind`): what is used stays in the cache without a gap.
    Entry(CACHE_WARM, 60),
    # A run takes 5 s at most, a twelfth of a child's time, and in a day deletes more than a fleet stores.
    Entry(STORE_PRUNE, 60),
)


def tick_id(task: str, due_ms: int) -> str:
    """The id of the message of one tick: the same whoever sends it."""
    return str(uuid5(_TICKS, f"{task}@{due_ms}"))
