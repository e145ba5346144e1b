"""One fetch: Redis first, then the source, with one loader a key in the fleet.

1. One MGET. What is fresh there is done.
2. For the rest, ask for leases. Whoever gets a key's lease looks again (somebody may have just stored it), loads, and stores.
3. Whoever does not, waits: reads again after short pauses until the value is there or its lease is free, for `WAIT_SECONDS_MAX`
   at the most; then he loads for himself and keeps it to himself. A value that is only to be refreshed early serves him
   meanwhile.

Without Redis everybody loads. When the source fails, the newest value that may serve stale is the answer, if there is one.
"""

import logging
import threading
from collections.abc import Callable, Mapping, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from uuid_utils import uuid4

from shared.cache import keys as names
from shared.cache.entry import Entry, freshness
from shared.cache.envelope import VALUE_BYTES_MAX, Envelope
from shared.cache.reading import Reading
from shared.cache.redis import CAUTION_US, Kept, Read

if TYPE_CHECKING:
    from shared.cache.tiered import Cache

# The standard library's logger: a command line, which configures none, shows no more than warnings, on stderr.
log = logging.getLogger(__name__)

V = TypeVar("V")
LoadMany = Callable[[Sequence[str]], Mapping[str, V | None]]

WAIT_SECONDS_MAX = 2.0
"""For another process's load; a load takes some milliseconds."""
PAUSE_SECONDS_FIRST, PAUSE_SECONDS_MAX = 0.002, 0.05
"""Between looks: about as long as a load takes, then longer; each look is two round trips."""
SAME_SECONDS = 0.1
"""Two looks at one value in Redis may differ by so much in when it ends: the server's clock is estimated."""
RETRY_SECONDS = 1.0
"""A value that served stale serves so long before the source is asked again: an outage is not met by every request."""


class Fetch(Generic[V]):
    """One run of it, in one thread.

    Args:
        cache: whose.
        load: asks the source for keys.
        ttl: seconds that values are fresh; None: the kind's. Raises ValueError for one that outlives a tag's invalidation.
    """

    def __init__(self, cache: "Cache[V]", load: LoadMany[V], ttl: float | None) -> None:
        self._cache = cache
        self._kind = cache.kind
        self._load_many = load
        self._ttl = cache.kind.fresh_seconds if ttl is None else cache.kind.checked_ttl(ttl)
        self._token = str(uuid4())
        self._done: dict[str, Entry] = {}
        self._fallback: dict[str, Entry] = {}
        self._early: dict[str, float] = {}  # keys drawn for a refresh, and until when the value that there is is fresh
        self._reading = Reading(cache)

    def run(self, keys: Sequence[str]) -> dict[str, Entry]:
        """An entry for each key. Raises what the loader raises."""
        copies, now = self._cache.copies, self._cache.clock()
        self._marks = {key: copies.mark(key) for key in keys}
        for key in keys:
            if (entry := copies.get(key)) is not None:
                self._fall_back_on(key, entry)
                if entry.is_fresh(now) and entry.generation == copies.generation:
                    self._early[key] = entry.fresh_until  # why else would it be fetched
        self._look(keys, first=True)
        waited, pause = 0.0, PAUSE_SECONDS_FIRST
        while missing := [key for key in keys if key not in self._done]:
            leased, refused = self._lease(missing)
            self._load(leased, leased=True)
            self._serve_early(refused)
            missing = [key for key in refused if key not in self._done]
            if not missing:
                break
            if waited >= min(WAIT_SECONDS_MAX, self._kind.load_seconds_max):
                self._load(missing, leased=False)
                break
            threading.Event().wait(pause)
            waited, pause = waited + pause, min(PAUSE_SECONDS_MAX, pause * 2)
            self._look(missing)
        return self._done

    def _look(self, keys: Sequence[str], *, first: bool = False) -> None:
        """One MGET; the ``first`` one counts."""
        tags = (tag for key in keys if key in self._fallback for tag in self._fallback[key].tags)
        read = self._reading.look(keys, tags) if self._ttl else None
        if read is None:
            return
        before = len(self._done)
        self._take(keys, read)
        if first:
            hits = len(self._done) - before
            self._cache.counts.l2_hits += hits
            self._cache.counts.l2_misses += len(keys) - hits

    def _take(self, keys: Sequence[str], read: Read) -> None:
        """Of what Redis has, keep what is fresh, and remember what may serve stale."""
        now = self._cache.clock()
        for key, (envelope, value) in self._reading.holding(keys, read).items():
            entry = self._entry(value, envelope, now - (max(0, read.now_us - envelope.loaded_at) - envelope.fresh_us) / 1e6)
            if entry.is_fresh(now) and not self._is_due(key, entry, now):
                self._finish(key, entry)
            else:
                self._fall_back_on(key, entry)

    def _is_due(self, key: str, entry: Entry, now: float) -> bool:
        """Whether this fetch is to renew a value that is still fresh: drawn once, here or by who looked at the copy."""
        if key in self._early:
            return entry.fresh_until <= self._early[key] + SAME_SECONDS
        if entry.wants_refresh(now, self._kind.early):
            self._early[key] = entry.fresh_until
            return True
        return False

    def _lease(self, keys: Sequence[str]) -> tuple[list[str], list[str]]:
        """The keys that are ours to load, and those that another one loads."""
        remote = self._cache.remote
        if remote is None or not self._ttl:
            return list(keys), []
        answer = remote.lease(
            [names.value(self._kind, key) for key in keys], self._token, int(self._kind.load_seconds_max * 1000)
        )
        if answer is None:
            return list(keys), []
        granted, read = answer
        self._take(keys, read)
        leased = [key for key, mine in zip(keys, granted, strict=True) if mine]
        if finished := [key for key in leased if key in self._done]:
            self._release(finished)
        return [key for key in leased if key not in self._done], [key for key in keys if key not in leased]

    def _serve_early(self, keys: Sequence[str]) -> None:
        """What another one refreshes serves on; a copy that is doubtful does not."""
        for key in keys:
            if key not in self._done and key in self._early and key in self._fallback:
                self._finish(key, self._fallback[key])

    def _load(self, keys: Sequence[str], *, leased: bool) -> None:
        if not keys:
            return
        started, remote = self._cache.clock(), self._cache.remote
        loaded_at = (remote.now_us() if remote else None) or 0
        try:
            values = self._load_many(keys)
        except Exception as error:  # noqa: BLE001 - raised again, unless a stale value serves
            self._cache.counts.failed += len(keys)
            if leased:
                self._release(keys)
            self._serve_stale(keys, error)
            return
        took = self._cache.clock() - started
        self._cache.counts.loaded += len(keys)
        self._keep({key: values.get(key) for key in keys}, loaded_at, started, took, leased=leased)

    def _keep(self, values: dict[str, V | None], loaded_at: int, started: float, took: float, *, leased: bool) -> None:
        kept: dict[str, Kept] = {}
        for key, value in values.items():
            fresh = self._kind.absent_seconds if value is None else freshness(self._ttl, self._kind.jitter)
            tags = () if value is None else tuple(self._cache.tags(value))
            envelope, raw = self._cache.codec.seal(
                value, loaded_at=loaded_at - CAUTION_US, fresh_us=int(fresh * 1e6), load_us=int(took * 1e6), tags=tags
            )
            self._done[key] = self._entry(value, envelope, started + fresh)
            if fresh > 0 and loaded_at and len(raw) <= VALUE_BYTES_MAX:
                kept[key] = Kept(names.value(self._kind, key), raw, int((fresh + self._stale_seconds(value)) * 1000) + 1)
        refused = self._store(kept) if leased else set()
        for key in values:
            if key not in refused:
                self._cache.copies.put(key, self._done[key], self._marks[key])

    def _store(self, kept: dict[str, Kept]) -> set[str]:
        """Returns the keys that changed while they were loaded: their values serve this caller and nobody else."""
        remote = self._cache.remote
        if remote is None or not kept:
            return set()
        answers = remote.store(list(kept.values()), self._token)
        return set() if answers is None else {key for key, stored in zip(kept, answers, strict=True) if not stored}

    def _release(self, keys: Sequence[str]) -> None:
        if self._cache.remote is not None:
            self._cache.remote.release([names.value(self._kind, key) for key in keys], self._token)

    def _serve_stale(self, keys: Sequence[str], error: Exception) -> None:
        """Raises ``error`` when one of the keys has nothing to serve."""
        now = self._cache.clock()
        if any(key not in self._fallback or now >= self._fallback[key].stale_until for key in keys):
            raise error
        log.info("the source of %s fails, serving what is stale: %s", self._kind.name, type(error).__name__)
        for key in keys:
            entry = self._fallback[key]
            entry.local_until = entry.calm_until = now + RETRY_SECONDS
            entry.generation = self._cache.copies.generation
            self._cache.counts.stale += 1
            self._finish(key, entry)

    def _finish(self, key: str, entry: Entry) -> None:
        self._done[key] = entry
        self._cache.copies.put(key, entry, self._marks[key])

    def _fall_back_on(self, key: str, entry: Entry) -> None:
        if entry.value is not None and (key not in self._fallback or entry.fresh_until > self._fallback[key].fresh_until):
            self._fallback[key] = entry

    def _entry(self, value: V | None, envelope: Envelope, fresh_until: float) -> Entry:
        return Entry(
            value,
            fresh_until=fresh_until,
            local_until=min(fresh_until, self._cache.clock() + self._kind.local_seconds),
            stale_until=fresh_until + self._stale_seconds(value),
            load_seconds=envelope.load_us / 1e6,
            size=envelope.size,
            tags=envelope.tags,
            generation=self._cache.copies.generation,
            beta=self._kind.early,
        )

    def _stale_seconds(self, value: V | None) -> float:
        """In an outage nobody is told that there is none."""
        return 0.0 if value is None else self._kind.stale_seconds
