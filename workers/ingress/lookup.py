"""Cached look-ups, for what every request asks: whose key is this, what channel is that.

An answer is fresh for `lookup_seconds`. Absence is remembered too, apart from what exists, so that made-up ids push out no
real ones. Keys that exist reload on threads of their own, so that a flood of made-up ones, which queue behind each other on
a single thread and connection, delays nobody we know.

While the database is down an entry serves for up to `STALE_SECONDS_MAX` more; for what was never seen nobody can say yes or
no, so the edge answers 503, never 401 or 404.
"""

from collections.abc import Callable, Hashable
from typing import Generic, NamedTuple, TypeVar

from shared.clock import monotonic_seconds
from workers.ingress.loads import Loads, LookupUnavailable

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

ENTRIES_MAX = 10_000
"""Of either kind. An entry is a few hundred bytes; what exists beyond it is merely loaded more often."""

STALE_SECONDS_MAX = 300.0
"""A channel removed or a key rotated just before an outage works for so long; refusing every webhook would be worse."""

KNOWN_THREADS = 1
STRANGER_THREADS = 1


class Entry(NamedTuple, Generic[V]):
    """What a load said, and when (monotonic seconds)."""

    value: V
    loaded_at: float


class Lookup(Generic[K, V]):
    """Lives on one event loop.

    Args:
        name: for logs and threads.
        load: blocking; the value of a key or None; raises when the database fails.
        fresh_seconds: how long an entry serves without a load, 0 or more.
        now: monotonic seconds.
    """

    def __init__(
        self,
        name: str,
        load: Callable[[K], V | None],
        *,
        fresh_seconds: float,
        now: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self._fresh_seconds = fresh_seconds
        self._now = now
        self._known: Loads[K, V] = Loads(f"known {name}", load, threads=KNOWN_THREADS, now=now)
        self._strangers: Loads[K, V] = Loads(f"new {name}", load, threads=STRANGER_THREADS, now=now)
        self._found: dict[K, Entry[V]] = {}
        self._absent: dict[K, Entry[None]] = {}

    async def find(self, key: K) -> V | None:
        """The value of ``key``, or None when there is none. Raises LookupUnavailable."""
        found = self._found.get(key)
        if found is not None:
            return found.value if self._is_fresh(found) else await self._reload(key, found)
        absent = self._absent.get(key)
        if absent is not None and self._is_fresh(absent):
            return None
        return self._remember(key, await self._strangers.get(key))

    def close(self) -> None:
        """End the threads."""
        self._known.close()
        self._strangers.close()

    async def _reload(self, key: K, found: Entry[V]) -> V | None:
        try:
            return self._remember(key, await self._known.get(key))
        except LookupUnavailable:
            if self._now() - found.loaded_at < self._fresh_seconds + STALE_SECONDS_MAX:
                return found.value
            raise

    def _remember(self, key: K, value: V | None) -> V | None:
        self._found.pop(key, None)
        self._absent.pop(key, None)
        if value is None:
            _put(self._absent, key, Entry(None, self._now()))
        else:
            _put(self._found, key, Entry(value, self._now()))
        return value

    def _is_fresh(self, entry: Entry[V] | Entry[None]) -> bool:
        return self._now() - entry.loaded_at < self._fresh_seconds


def _put(entries: dict[K, Entry[V]], key: K, entry: Entry[V]) -> None:
    entries[key] = entry
    if len(entries) > ENTRIES_MAX:
        del entries[next(iter(entries))]  # the one loaded longest ago: what is in use reloads, so it is young
