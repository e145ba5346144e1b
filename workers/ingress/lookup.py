"""Cached look-ups, for what every request asks: whose key is this, what channel is that.

A hit is the process's own copy, on the event loop. All else is a thread's work: Redis, then the database. Keys of which there is
a copy are renewed on threads of their own, so that a flood of made-up ones, which queue behind each other on a single thread and
connection, delays nobody we know.

While the database is down a copy serves for up to `STALE_SECONDS` more; for what was never seen nobody can say yes or no, so the
edge answers 503, never 401 or 404. One attempt a second asks whether it is back.
"""

from collections.abc import Callable
from typing import Generic, TypeVar

from shared.breaker import Breaker
from shared.cache.tiered import Cache
from shared.errors import HeadraceError
from workers.ingress.loads import Loads, LookupUnavailable

V = TypeVar("V")

KNOWN_THREADS = 1
STRANGER_THREADS = 1

RETRY_SECONDS = 1.0
"""After a failed load, the pause before the next attempt: an outage costs one attempt a second, not one a request."""


class DatabaseIsDown(HeadraceError):
    """It was so less than `RETRY_SECONDS` ago, so it was not asked."""


class Lookup(Generic[V]):
    """Lives on one event loop.

    Args:
        name: for logs and threads.
        cache: where answers are kept.
        load: blocking; the value of a key or None; raises when the database fails.
        database: the breaker before it; several look-ups may share one.
    """

    def __init__(self, name: str, cache: Cache[V], load: Callable[[str], V | None], *, database: Breaker) -> None:
        self._cache = cache
        self._load = load
        self._database = database
        self._known: Loads[str, V] = Loads(f"known {name}", self._fetch, threads=KNOWN_THREADS)
        self._strangers: Loads[str, V] = Loads(f"new {name}", self._fetch, threads=STRANGER_THREADS)

    async def find(self, key: str) -> V | None:
        """The value of ``key``, or None when there is none. Raises LookupUnavailable."""
        entry = self._cache.peek(key)
        if entry is not None:
            return entry.value  # type: ignore[no-any-return]
        loads = self._known if self._cache.has_copy(key) else self._strangers
        try:
            return await loads.get(key)
        except LookupUnavailable:
            if (entry := self._cache.stale(key)) is not None:
                return entry.value  # type: ignore[no-any-return]
            raise

    def close(self) -> None:
        """End the threads."""
        self._known.close()
        self._strangers.close()

    def _fetch(self, key: str) -> V | None:
        return self._cache.fetch(key, lambda: self._ask(key))

    def _ask(self, key: str) -> V | None:
        if not self._database.allows():
            raise DatabaseIsDown("the database does not answer")
        try:
            value = self._load(key)
        except Exception:
            self._database.failed()
            raise
        self._database.succeeded()
        return value
