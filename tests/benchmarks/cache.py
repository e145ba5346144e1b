"""The cache: how often it has what is asked for and how long that takes, how many load at once, how soon a change is everywhere.

Real PostgreSQL, the embedded cache's Redis, four processes. Conversations are asked for by Zipf's law, 20,000 of them, of which
a process keeps 10,000; one operation in fifty changes the conversation and tells everybody. Each process has asked for all of
them once before the clock starts, as `cache.warm` would have it.
"""

import json
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles
from time import monotonic
from typing import Any, Protocol

import redis

from shared.cache.change import Change
from shared.cache.redis import Remote
from shared.cache.tiers import Tiers
from tests.benchmarks.cache_process import KIND, LOADS
from tests.benchmarks.ground import Ground
from tests.benchmarks.verdict import Bound, Series, Verdict
from tests.waiting import eventually

PROCESSES = 4
CONVERSATIONS = 20_000
WRITES = 0.02
THREADS = 250
STAMPEDES = 5
CHANGES = 100
HITS = 200_000
AHEAD_SECONDS = 0.5
"""Until all threads of all processes stand ready."""

HIT_RATIO_MIN, HIT_US_MAX, READ_MS_MAX, OPERATION_MS_MAX, CHANGE_MS_MAX = 95, 2, 2, 10, 100


class Servers(Protocol):
    """Where they are."""

    @property
    def cache_url(self) -> str: ...

    @property
    def database_url(self) -> str: ...


class Child:
    """A process of the benchmark."""

    def __init__(self, ground: Servers) -> None:
        command = [sys.executable, "-m", "tests.benchmarks.cache_process", ground.cache_url, ground.database_url]
        self._process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)

    def tell(self, verb: str, **arguments: Any) -> None:
        """Have it begin."""
        assert self._process.stdin
        self._process.stdin.write(json.dumps([verb, arguments]) + "\n")
        self._process.stdin.flush()

    def answer(self) -> Any:
        """What came of it."""
        assert self._process.stdout
        line = self._process.stdout.readline()
        assert line, "a process of the benchmark ended"
        return json.loads(line)

    def ask(self, verb: str, **arguments: Any) -> Any:
        """Both."""
        self.tell(verb, **arguments)
        return self.answer()

    def end(self) -> None:
        """End it."""
        self._process.kill()
        self._process.wait(10)


@contextmanager
def processes(ground: Servers, count: int) -> Iterator[list[Child]]:
    """So many, each told of changes; gone at the end."""
    children = [Child(ground) for _ in range(count)]
    try:
        for child in children:
            eventually("it is told of changes", lambda child=child: child.ask("ready"), within=30)
        yield children
    finally:
        for child in children:
            child.end()


def run(ground: Ground, *, operations: int, say: Callable[[str], None]) -> Verdict:
    """All of it; ``operations`` in each of two processes, as many as there are cores."""
    ground.reset()
    ground.database.execute(CONVERSATIONS_FOR_ALL, (CONVERSATIONS,))
    ground.database.execute("VACUUM (ANALYZE) conversations")
    with redis.Redis.from_url(ground.cache_url) as server:
        server.flushall()
        with processes(ground, PROCESSES) as children:
            zipf = _zipf(children[:2], operations, say)
            loads = [_stampede(children, server, number) for number in range(STAMPEDES)]
            say(f"cache: {PROCESSES * THREADS} misses at once made {max(loads)} load")
            changes = _changes(ground, children)
            say(f"cache: a change was everywhere after {max(changes):.1f} ms")
    return _verdict(zipf, loads, changes, operations)


CONVERSATIONS_FOR_ALL = """
INSERT INTO conversations (account_id, external_id)
SELECT (SELECT min(account_id::text)::uuid FROM conversations), 'zipf-' || n FROM generate_series(1, %s) n
"""


def _zipf(children: list[Child], operations: int, say: Callable[[str], None]) -> dict[str, Any]:
    for child in children:
        child.tell("warm", keys=CONVERSATIONS)
    for child in children:
        child.answer()
    hit_us = min(child.ask("hits", operations=HITS) for child in children) * 1e6
    for seed, child in enumerate(children):
        child.tell("zipf", keys=CONVERSATIONS, operations=operations, writes=WRITES, seed=seed)
    answers = [child.answer() for child in children]
    total = {name: sum(each[name] for each in answers) for name in ("l1_hits", "l1_misses", "l2_hits", "loaded")}
    ratio = 100 * (total["l1_hits"] + total["l2_hits"]) / (total["l1_hits"] + total["l1_misses"])
    say(f"cache: {ratio:.2f} % hits, {total}, a hit of a copy {hit_us:.2f} us")
    took, reads = ([second * 1000 for each in answers for second in each[name]] for name in ("took", "reads"))
    return {"ratio": ratio, "hit_us": hit_us, "took": took, "reads": reads}


def _stampede(children: list[Child], server: redis.Redis, number: int) -> int:
    server.delete(LOADS)
    for child in children:
        child.tell("stampede", key=f"hot-{number}", threads=THREADS, at=monotonic() + AHEAD_SECONDS)
    answered = sum(child.answer() for child in children)
    assert answered == PROCESSES * THREADS, f"{answered} got the value"
    return int(server.get(LOADS) or 0)


def _changes(ground: Ground, children: list[Child]) -> list[float]:
    """Milliseconds from telling to the last process's copy being gone."""
    teller, took = Tiers(Remote(ground.cache_url, master="", timeout=1.0)), []
    teller.cache(KIND, dict)
    for number in range(CHANGES):
        key = f"changed-{number}"
        for child in children:
            assert child.ask("hold", key=key)
        started = monotonic()
        assert teller.tell([Change(KIND.name, keys=(key,))])
        took.append((max(child.ask("lost") for child in children) - started) * 1000)
    teller.close()
    return took


def _verdict(zipf: dict[str, Any], loads: list[int], changes: list[float], operations: int) -> Verdict:
    series = [
        Series("hit of a copy", "us", [zipf["hit_us"]]),
        Series("read of Redis", "ms", zipf["reads"]),
        Series("any operation, writes included", "ms", zipf["took"]),
        Series("a change until the last process has heard", "ms", changes),
    ]
    bounds = [
        Bound("hits", zipf["ratio"], HIT_RATIO_MIN, unit="%"),
        Bound("a hit of a copy", zipf["hit_us"], HIT_US_MAX, at_least=False, unit="us"),
        Bound("a read of Redis, p95", _p95(zipf["reads"]), READ_MS_MAX, at_least=False, unit="ms"),
        Bound("any operation, p95", _p95(zipf["took"]), OPERATION_MS_MAX, at_least=False, unit="ms"),
        Bound(f"loads of {PROCESSES * THREADS} misses at once", max(loads), 1, at_least=False, unit="load"),
        Bound("a change everywhere, the slowest", max(changes), CHANGE_MS_MAX, at_least=False, unit="ms"),
    ]
    parameters = {"operations": 2 * operations, "conversations": CONVERSATIONS, "writes": WRITES, "processes": PROCESSES}
    return Verdict("cache", parameters, series, bounds, [])


def _p95(values: list[float]) -> float:
    return quantiles(values, n=20)[-1]
