"""What the cache was chosen by: its policy, its compression, and whether storing should use it. Run by name; nothing is bounded.

*Policy*: our LRU (`shared.cache.memory`, on cachebox) against W-TinyLFU (theine) on the traffic of `cache_traffic`, with room for
1 %, 5 %, 20 % and 50 % of the keys. *Compression*: lz4 against zstd (level 1 and 3) on JSON of messages. *Storing*: what each
statement of a batch of 400 costs when all its contacts and conversations are known, beside asking the cache for as many keys.
"""

from collections.abc import Callable
from statistics import median
from time import perf_counter
from typing import Any

import lz4.block
import orjson
import theine
import zstandard

from shared.cache.entry import Entry
from shared.cache.memory import OVERHEAD_BYTES, Memory
from shared.clock import utc_now
from shared.db.session import write_session
from shared.message import decode_queued
from shared.store import messages as store
from tests.benchmarks import workload
from tests.benchmarks.cache import processes
from tests.benchmarks.cache_traffic import TRAFFIC
from tests.benchmarks.ground import Ground
from tests.benchmarks.verdict import Series, Verdict

ROOM = (0.01, 0.05, 0.2, 0.5)
SIZES = (256, 512, 1_024, 4_096, 16_384, 65_536)
PASSES = 200
BATCH = 400
WARM_BATCHES, BATCHES = 60, 100


def run(ground: Ground, *, say: Callable[[str], None]) -> Verdict:
    """All three."""
    return Verdict("cache_choices", {"batch": BATCH}, [*_policies(say), *_compression(say), *_storing(ground, say)], [], [])


def _policies(say: Callable[[str], None]) -> list[Series]:
    series = []
    for name, traffic in TRAFFIC.items():
        keys = traffic()
        distinct = len(set(keys))
        for room in ROOM:
            entries = max(1, int(distinct * room))
            for policy, play in (("LRU", _lru), ("W-TinyLFU", _tiny_lfu)):
                started = perf_counter()
                hits = play(keys, entries)
                spent = (perf_counter() - started) / len(keys) * 1e6
                ratio = 100 * hits / len(keys)
                say(f"{name}, room for {room:.0%}: {policy} {ratio:.2f} % hits, {spent:.2f} us a request")
                series.append(Series(f"{name}, {entries} of {distinct}, {policy}: hits", "%", [ratio]))
                series.append(Series(f"{name}, {entries} of {distinct}, {policy}: a request", "us", [spent]))
    return series


def _lru(keys: list[str], entries: int) -> int:
    memory, hits = Memory(entries, 2**40), 0
    entry = Entry(1, fresh_until=1, local_until=1, stale_until=1, load_seconds=0, size=1, tags=(), generation=0, beta=0)
    for key in keys:
        if memory.get(key) is None:
            memory.put(key, entry)
        else:
            hits += 1
    assert memory.bytes <= entries * (1 + OVERHEAD_BYTES)
    return hits


def _tiny_lfu(keys: list[str], entries: int) -> int:
    cache: Any = theine.Cache(entries)
    hits = 0
    for key in keys:
        if cache.get(key)[1]:
            hits += 1
        else:
            cache.set(key, 1)
    return hits


def _compression(say: Callable[[str], None]) -> list[Series]:
    text = orjson.dumps(workload.messages(1_000))
    packers: dict[str, tuple[Callable[[bytes], bytes], Callable[[bytes], bytes]]] = {
        "lz4": (lz4.block.compress, lz4.block.decompress),
        "zstd 1": (zstandard.ZstdCompressor(1).compress, zstandard.ZstdDecompressor().decompress),
        "zstd 3": (zstandard.ZstdCompressor(3).compress, zstandard.ZstdDecompressor().decompress),
    }
    series = []
    for size in SIZES:
        body = text[:size]
        for name, (pack, unpack) in packers.items():
            packed = pack(body)
            there, back = _seconds(lambda: pack(body)), _seconds(lambda: unpack(packed))  # noqa: B023 - run at once
            gain = 100 * (1 - len(packed) / size)
            say(f"{size} bytes, {name}: {gain:.0f} % gained, {there * 1e6:.1f} us there, {back * 1e6:.1f} us back")
            series.append(Series(f"{size} bytes, {name}: gain", "%", [gain]))
            series.append(Series(f"{size} bytes, {name}: there and back", "us", [(there + back) * 1e6]))
    return series


def _seconds(work: Callable[[], object]) -> float:
    took = []
    for _ in range(PASSES):
        started = perf_counter()
        work()
        took.append(perf_counter() - started)
    return median(took)


def _storing(ground: Ground, say: Callable[[str], None]) -> list[Series]:
    ground.reset()
    took: dict[str, list[float]] = {}
    raws = [orjson.dumps(each) for each in workload.messages(BATCH * (WARM_BATCHES + BATCHES))]
    arrivals = [store.Arrival(it.account_id, it, utc_now()) for it in map(decode_queued, raws)]
    for number in range(len(arrivals) // BATCH):
        batch = arrivals[number * BATCH : (number + 1) * BATCH]
        started = perf_counter()
        with write_session() as session:
            spent = _timed(session)
            store.store(session, batch)
        spent["a whole batch"] = perf_counter() - started
        if number >= WARM_BATCHES:  # by then all contacts and conversations are there
            for name, seconds in spent.items():
                took.setdefault(name, []).append(seconds * 1000)
    names = {(it.account_id, it.message.conversation_id) for it in arrivals[-BATCH:]}
    with processes(ground, 1) as (child,):
        for place in ("Redis", "copies"):
            milliseconds = child.ask("batch", keys=[f"{account}:{name}" for account, name in names])
            took[f"get_many of {len(names)} conversations from {place}"] = [milliseconds]
    for name, values in took.items():
        say(f"storing: {name} {median(values):.2f} ms")
    return [Series(f"storing, {name}", "ms", values) for name, values in took.items()]


def _timed(session: Any) -> dict[str, float]:
    """Seconds that each statement takes in this session, by its place."""
    spent: dict[str, float] = {}
    execute = session.execute

    def timed(statement: Any, *arguments: Any) -> Any:
        started = perf_counter()
        answer = execute(statement, *arguments)
        spent[statement.get_execution_options().get("headrace_query", "?")] = perf_counter() - started
        return answer

    session.execute = timed
    return spent
