"""One process of the cache's benchmark: ``python -m tests.benchmarks.cache_process``, told what to do a JSON line at a time.

Conversations are cached by their number; loading one is a query of PostgreSQL, changing one a transaction and a message.
"""

import json
import sys
import threading
from collections.abc import Callable, Sequence
from random import Random
from time import monotonic, perf_counter
from typing import Any

import psycopg
import redis
from msgspec import Struct

from shared.cache.change import Change
from shared.cache.kind import Kind
from shared.cache.redis import Remote
from shared.cache.tiers import Tiers

KIND = Kind("bench", 1, fresh_seconds=600, local_seconds=600, absent_seconds=5, stale_seconds=300, entries_max=10_000)
LOAD = "SELECT id, external_id, message_count FROM conversations WHERE id = ANY(%s)"
CHANGE = "UPDATE conversations SET message_count = message_count + 1 WHERE id = %s"
LOADS = "bench:loads"


class Head(Struct, frozen=True):
    """What is cached of a conversation."""

    id: int
    external_id: str
    message_count: int


class Process:
    """Does what it is told; each answer is JSON."""

    def __init__(self, cache_url: str, database_url: str) -> None:
        self.remote = Remote(cache_url, master="", timeout=1.0)
        self.tiers = Tiers(self.remote)
        self.cache = self.tiers.cache(KIND, Head)
        self.database = psycopg.connect(database_url, autocommit=True)
        self.server = redis.Redis.from_url(cache_url)
        self.reads: list[float] = []
        run = self.remote.run

        def timed(operation: str, work: Callable[[Any], Any]) -> Any:
            started = perf_counter()
            answer = run(operation, work)
            if operation == "read":
                self.reads.append(perf_counter() - started)
            return answer

        self.remote.run = timed  # type: ignore[method-assign]

    def ready(self) -> bool:
        """Whether it is told of changes."""
        return self.tiers.listening

    def warm(self, keys: int) -> int:
        """Ask for the first ``keys`` conversations, a hundred at a time."""
        for start in range(1, keys + 1, 100):
            self.cache.get_many([str(number) for number in range(start, min(keys, start + 99) + 1)], self.load)
        return keys

    def zipf(self, keys: int, operations: int, writes: float, seed: int) -> dict[str, Any]:
        """Read conversations as they are asked for, and change one now and then."""
        random, counts = Random(seed), self.cache.counts
        weights = [1 / rank for rank in range(1, keys + 1)]
        chosen = random.choices(range(1, keys + 1), weights, k=operations)
        before = (counts.l1_hits, counts.l1_misses, counts.l2_hits, counts.loaded)
        took: list[float] = []
        self.reads.clear()
        for number in chosen:
            key, changes = str(number), random.random() < writes
            started = perf_counter()
            if changes:
                self.database.execute(CHANGE, (number,))
                self.tiers.tell([Change(KIND.name, keys=(key,))])
            else:
                self.cache.get_or_load(key, lambda key=key: self.load([key]).get(key))  # type: ignore[misc]
            took.append(perf_counter() - started)
        after = (counts.l1_hits, counts.l1_misses, counts.l2_hits, counts.loaded)
        names = ("l1_hits", "l1_misses", "l2_hits", "loaded")
        return {"took": took, "reads": self.reads, **{n: b - a for n, a, b in zip(names, before, after, strict=True)}}

    def hits(self, operations: int) -> float:
        """Seconds that one hit of a copy takes."""
        get, load = self.cache.get_or_load, lambda: None
        get("1", lambda: self.load(["1"]).get("1"))
        started = perf_counter()
        for _ in range(operations):
            get("1", load)
        return (perf_counter() - started) / operations

    def stampede(self, key: str, threads: int, at: float) -> int:
        """Ask for ``key`` from so many threads at the same moment; how many got it."""
        got: list[Head | None] = []

        def slow() -> Head:
            self.server.incr(LOADS)
            threading.Event().wait(0.05)
            return Head(1, key, 1)

        def ask() -> None:
            threading.Event().wait(max(0.0, at - monotonic()))
            got.append(self.cache.get_or_load(key, slow))

        asking = [threading.Thread(target=ask) for _ in range(threads)]
        for thread in asking:
            thread.start()
        for thread in asking:
            thread.join()
        return sum(each is not None for each in got)

    def hold(self, key: str) -> bool:
        """Have a copy, and note when it goes."""
        self.gone = threading.Event()
        drop = type(self.cache.copies).drop

        def noted(changed: str) -> None:
            drop(self.cache.copies, changed)
            self.gone_at = monotonic()
            self.gone.set()

        self.cache.copies.drop = noted  # type: ignore[method-assign]
        return self.cache.get_or_load(key, lambda: Head(1, key, 1)) is not None

    def lost(self) -> float:
        """When the copy went, on the clock that all processes of a host share."""
        assert self.gone.wait(10)
        return self.gone_at

    def batch(self, keys: list[str]) -> float:
        """Milliseconds that many keys take: the first time from Redis, then from the copies."""
        found = {key: Head(1, key, 1) for key in keys}
        if not self.cache.has_copy(keys[0]):
            self.cache.get_many(keys, lambda _: found)
            self.cache.copies.clear()
        started = perf_counter()
        self.cache.get_many(keys, lambda _: found)
        return (perf_counter() - started) * 1000

    def load(self, keys: Sequence[str]) -> dict[str, Head | None]:
        """One query."""
        rows = self.database.execute(LOAD, ([int(key) for key in keys],))
        return {str(row[0]): Head(*row) for row in rows}


if __name__ == "__main__":
    process = Process(*sys.argv[1:])
    for line in sys.stdin:
        verb, arguments = json.loads(line)
        print(json.dumps(getattr(process, verb)(**arguments)), flush=True)  # noqa: T201 - its parent reads it
