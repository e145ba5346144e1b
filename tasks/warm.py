"""`cache.warm`: load what the last hours used most, before somebody asks for it.

It costs little when all is well, for what is used is there: one MGET for a hundred keys. After a restart of the cache, or a
deploy whose values have a new version, it fills Redis in a few queries. What it loads is bounded by time and by queries, whatever
the counts say.
"""

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from shared.clock import monotonic_seconds
from shared.log import get_logger
from shared.schedule import CACHE_WARM
from shared.store import usage
from shared.store.lookups import Lookup, lookups
from tasks.tick import periodic

SECONDS_MAX = 5.0
"""A twelfth of its period; a worker's child does nothing else meanwhile."""
QUERIES_MAX = 50
"""One for a hundred keys, some 5 ms each."""
KEYS_A_QUERY = 100
KEYS_MAX = 2_000
"""Of each kind: those beyond were used a few times in hours."""

log = get_logger(__name__)


class Warmed(NamedTuple):
    """What became of one kind.

    Args:
        cache: the kind's name.
        keys: how many were looked at.
        loaded: how many of them had to be loaded.
        queries: in how many queries.
        seconds: it took.
        complete: False when the budget was used up before.
    """

    cache: str
    keys: int
    loaded: int
    queries: int
    seconds: float
    complete: bool


class Budget:
    """What is left of it.

    Args:
        seconds: for everything, above 0.
        queries: for everything, 1 or more.
    """

    def __init__(self, seconds: float, queries: int) -> None:
        self._ends_at = monotonic_seconds() + seconds
        self.queries = queries

    @property
    def left(self) -> bool:
        """Whether to go on."""
        return self.queries > 0 and monotonic_seconds() < self._ends_at


def warm(*, seconds: float = SECONDS_MAX, queries: int = QUERIES_MAX) -> list[Warmed]:
    """Load the most used keys of each kind, within the budget. Raises what the database raises."""
    budget = Budget(seconds, queries)
    return [_warm(lookup, budget) for lookup in lookups()]


@periodic(CACHE_WARM)
def run() -> None:
    """Beat's task."""
    for warmed in warm():
        log.info("cache warmed", **warmed._asdict())


def _warm(lookup: Lookup, budget: Budget) -> Warmed:
    cache, started = lookup.cache, monotonic_seconds()
    keys = usage.top(cache.remote, cache.kind.name, KEYS_MAX) if cache.remote else []
    looked = loaded = asked = 0

    def load(missing: Sequence[str]) -> Mapping[str, Any]:
        nonlocal loaded, asked
        asked += 1
        budget.queries -= 1
        loaded += len(missing)
        return lookup.load_many(missing)

    for start in range(0, len(keys), KEYS_A_QUERY):
        if not budget.left:
            break
        chunk = keys[start : start + KEYS_A_QUERY]
        cache.get_many(chunk, load, count=False)
        looked += len(chunk)
    return Warmed(cache.kind.name, looked, loaded, asked, monotonic_seconds() - started, looked == len(keys))
