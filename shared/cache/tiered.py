"""The cache that callers see: a process's copies, then Redis, then the source, for one kind of data.

    value = cache.get_or_load(key, lambda: load(key))
    values = cache.get_many(keys, load_many)

    @cached(cache, key=lambda account_id, name: f"{account_id}:{name}")
    def find(account_id, name): ...

A loader's None is a value too: there is none, remembered for a shorter time. Values are shared by all who ask, so they are
immutable: NamedTuples, frozen Structs, text, numbers.

It blocks. On an event loop: `peek`, which looks at the process's copies alone, and `fetch` in a thread when that says None.
"""

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import wait
from functools import wraps
from typing import Generic, ParamSpec, TypeVar

from shared.cache.copies import Copies
from shared.cache.counts import Counts
from shared.cache.entry import Entry
from shared.cache.envelope import Codec
from shared.cache.fetch import Fetch, LoadMany
from shared.cache.flights import Flight
from shared.cache.kind import Kind
from shared.cache.redis import Remote
from shared.clock import monotonic_seconds
from shared.store.usage import Usage

V = TypeVar("V")
P = ParamSpec("P")


class Cache(Generic[V]):
    """Thread-safe; made by `shared.cache.tiers`, which tells it of changes.

    Args:
        kind: what it holds.
        type: of the values; see `shared.cache.envelope.Codec`.
        remote: Redis; None for the process alone.
        usage: where reads are counted for warming, or None.
        tags: a value's tags, under which it is invalidated besides its key.
        clock: monotonic seconds.
    """

    def __init__(
        self,
        kind: Kind,
        type: type[V],
        remote: Remote | None = None,
        *,
        usage: Usage | None = None,
        tags: Callable[[V], Iterable[str]] = lambda _value: (),
        clock: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self.kind = kind
        self.codec: Codec[V] = Codec(type)
        self.remote = remote
        self.usage = usage
        self.tags = tags
        self.clock = clock
        self.copies = Copies(kind)
        self.counts = Counts(kind.name, (self.copies.found, self.copies.absent))
        self._found = self.copies.found.get

    def peek(self, key: str) -> Entry | None:
        """The process's own copy if it serves, its ``value`` None for "there is none"; None when it must be fetched."""
        entry = self._found(key)
        now = self.clock()
        if entry is not None and now < entry.calm_until and entry.generation == self.copies.generation:
            self.counts.l1_hits += 1
            return entry
        entry = entry or self.copies.absent.get(key)
        if (
            entry is None
            or entry.generation != self.copies.generation
            or not entry.is_fresh(now)
            or entry.wants_refresh(now, self.kind.early)
        ):
            self.counts.l1_misses += 1
            return None
        self.counts.l1_hits += 1
        return entry

    def stale(self, key: str) -> Entry | None:
        """The process's copy of a value that exists, if it may still serve while the source fails."""
        entry = self.copies.found.get(key)
        if entry is None or self.clock() >= entry.stale_until:
            return None
        self.counts.stale += 1
        return entry

    def has_copy(self, key: str) -> bool:
        """Whether the process has a copy of a value that exists, however old."""
        return self.copies.found.contains(key)

    def get_or_load(self, key: str, loader: Callable[[], V | None], ttl: float | None = None) -> V | None:
        """The value of ``key``, loaded when nobody in the fleet has it.

        Args:
            loader: asks the source, within `load_seconds_max`; None when there is none.
            ttl: seconds it is fresh, when not the kind's.

        Raises what the loader raises, unless a value that may serve stale is there.
        """
        entry = self.peek(key)
        return self.fetch(key, loader, ttl) if entry is None else entry.value

    def fetch(self, key: str, loader: Callable[[], V | None], ttl: float | None = None) -> V | None:
        """The rest of `get_or_load`, for who has peeked."""
        value: V | None = self._fetch([key], lambda _keys: {key: loader()}, ttl)[key].value
        return value

    def get_many(
        self, keys: Sequence[str], load_many: LoadMany[V], ttl: float | None = None, *, count: bool = True
    ) -> dict[str, V]:
        """The values of those ``keys`` that have one: one MGET for what the process lacks, one load for what Redis lacks.

        Args:
            load_many: gets the missing keys, returns the values of those that have one.
            ttl: as `get_or_load` says.
            count: as uses, for warming.

        Raises as `get_or_load` does.
        """
        entries: dict[str, Entry] = {}
        missing: dict[str, None] = {}
        for key in keys:
            entry = self.peek(key)
            if entry is None:
                missing[key] = None
            else:
                entries[key] = entry
        if missing:
            entries |= self._fetch(list(missing), load_many, ttl, count=count)
        return {key: entries[key].value for key in keys if entries[key].value is not None}

    def _fetch(self, keys: list[str], load_many: LoadMany[V], ttl: float | None, *, count: bool = True) -> dict[str, Entry]:
        if count and self.usage is not None:
            self.usage.count(self.kind.name, keys)
        mine, others = self.copies.flights.board(keys)
        entries: dict[str, Entry] = {}
        if mine:
            try:
                entries = Fetch(self, load_many, ttl).run(list(mine))
            except BaseException as error:
                self.copies.flights.crash(mine, error)
                raise
            self.copies.flights.land(mine, entries)
        for key, flight in others.items():
            entries[key] = self._answer(key, flight, load_many, ttl)
        return entries

    def _answer(self, key: str, flight: Flight, load_many: LoadMany[V], ttl: float | None) -> Entry:
        """Another thread's, or our own when that one hangs."""
        if wait((flight,), self.kind.load_seconds_max).done:
            if flight.exception() is not None and (entry := self.stale(key)) is not None:
                return entry  # it failed for another key, which was fetched along with ours and has nothing to serve
            return flight.result()
        return Fetch(self, load_many, ttl).run([key])[key]


def cached(
    cache: Cache[V], *, key: Callable[P, str], ttl: float | None = None
) -> Callable[[Callable[P, V | None]], Callable[P, V | None]]:
    """Decorator: answer from ``cache`` under ``key(...)`` of the function's arguments."""

    def decorate(function: Callable[P, V | None]) -> Callable[P, V | None]:
        @wraps(function)
        def answer(*args: P.args, **kwargs: P.kwargs) -> V | None:
            return cache.get_or_load(key(*args, **kwargs), lambda: function(*args, **kwargs), ttl)

        return answer

    return decorate
