"""Look-ups: what is loaded when, who is remembered, and what an outage leaves standing."""

import asyncio
import threading
from collections.abc import Awaitable, Callable
from typing import Any

import pytest

from shared.breaker import Breaker
from shared.cache.kind import Kind
from shared.cache.tiered import Cache
from workers.ingress import loads
from workers.ingress.loads import LookupUnavailable
from workers.ingress.lookup import RETRY_SECONDS, Lookup

FRESH_SECONDS = 5.0
STALE_SECONDS = 300.0
SECONDS_MAX = 10


class Database:
    """Answers from a dictionary, when it is up and the gate is open: one for keys that exist, one for all others."""

    def __init__(self) -> None:
        self.rows: dict[str, str] = {"known": "value"}
        self.up = True
        self.asked: list[str] = []
        self.gate, self.strangers_gate = threading.Event(), threading.Event()
        self.open()
        self.now = 1000.0

    def open(self) -> None:
        self.gate.set()
        self.strangers_gate.set()

    def load(self, key: str) -> str | None:
        self.asked.append(key)
        gate = self.gate if key in self.rows else self.strangers_gate
        assert gate.wait(SECONDS_MAX)
        if not self.up:
            raise ConnectionError
        return self.rows.get(key)


Scenario = Callable[[Database, Lookup[str]], Awaitable[Any]]


def run(scenario: Scenario, **changes: Any) -> None:
    times = {"fresh_seconds": FRESH_SECONDS, "local_seconds": FRESH_SECONDS, "absent_seconds": FRESH_SECONDS}
    kind = Kind("test", 1, **times, stale_seconds=STALE_SECONDS, jitter=0, early=0, **changes)

    async def play() -> None:
        database = Database()

        def now() -> float:
            return database.now

        breaker = Breaker("test", failures=1, open_seconds=RETRY_SECONDS, clock=now)
        cache = Lookup("test", Cache(kind, str, clock=now), database.load, database=breaker)
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await scenario(database, cache)
        finally:
            database.open()
            cache.close()

    asyncio.run(play())


def test_an_answer_serves_until_it_is_no_longer_fresh() -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        for _ in range(3):
            assert await cache.find("known") == "value"
        database.rows["known"] = "changed"
        database.now += FRESH_SECONDS - 0.1
        assert await cache.find("known") == "value"
        database.now += 0.1
        assert await cache.find("known") == "changed"
        assert database.asked == ["known", "known"]

    run(scenario)


def test_absence_is_remembered_and_ends_when_the_key_appears() -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        assert await cache.find("new") is None
        assert await cache.find("new") is None
        assert database.asked == ["new"]
        database.rows["new"] = "here"
        database.now += FRESH_SECONDS
        assert await cache.find("new") == "here"
        del database.rows["new"]
        database.now += FRESH_SECONDS
        assert await cache.find("new") is None

    run(scenario)


def test_a_hundred_requests_for_one_key_are_one_load() -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        assert set(await asyncio.gather(*(cache.find("known") for _ in range(100)))) == {"value"}
        assert database.asked == ["known"]

    run(scenario)


def test_made_up_keys_push_out_none_that_exist() -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        await cache.find("known")
        for number in range(100):
            await cache.find(f"made up {number}")
        asked = len(database.asked)
        assert await cache.find("known") == "value"
        assert len(database.asked) == asked
        await cache.find("made up 0")
        assert len(database.asked) == asked + 1

    run(scenario, entries_max=10)


def test_a_flood_of_made_up_keys_delays_none_that_exist_and_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loads, "LOADS_MAX", 10)

    async def scenario(database: Database, cache: Lookup[str]) -> None:
        await cache.find("known")
        database.strangers_gate.clear()
        flood = [asyncio.create_task(cache.find(f"made up {number}")) for number in range(50)]
        await asyncio.sleep(0)
        database.now += FRESH_SECONDS
        database.rows["known"] = "changed"
        assert await cache.find("known") == "changed"
        database.open()
        results = await asyncio.gather(*flood, return_exceptions=True)
        assert [type(it) for it in results].count(LookupUnavailable) == 40

    run(scenario)


def test_what_is_known_serves_through_an_outage_for_a_bounded_time() -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        await cache.find("known")
        database.up = False
        database.now += FRESH_SECONDS + STALE_SECONDS - 1
        assert await cache.find("known") == "value"
        database.now += 1
        with pytest.raises(LookupUnavailable):
            await cache.find("known")

    run(scenario)


def test_in_an_outage_nobody_is_told_that_a_key_does_not_exist() -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        assert await cache.find("absent") is None
        database.up = False
        database.now += FRESH_SECONDS
        for key in ("absent", "never seen"):
            with pytest.raises(LookupUnavailable):
                await cache.find(key)

    run(scenario)


def test_an_outage_costs_the_database_one_attempt_a_second_and_ends_by_itself() -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        database.up = False
        for number in range(100):
            with pytest.raises(LookupUnavailable):
                await cache.find(f"key {number}")
        assert len(database.asked) == 1
        database.up = True
        with pytest.raises(LookupUnavailable):
            await cache.find("known")
        database.now += RETRY_SECONDS
        assert await cache.find("known") == "value"
        assert await cache.find("another") is None

    run(scenario)


def test_a_database_that_hangs_keeps_a_request_only_so_long(monkeypatch: pytest.MonkeyPatch) -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        await cache.find("known")
        monkeypatch.setattr(loads, "WAIT_SECONDS_MAX", 0.05)
        database.gate.clear()
        database.strangers_gate.clear()
        database.now += FRESH_SECONDS
        assert await cache.find("known") == "value"
        with pytest.raises(LookupUnavailable):
            await cache.find("never seen")

    run(scenario)


def test_a_request_that_is_cancelled_cancels_the_load_of_no_other() -> None:
    async def scenario(database: Database, cache: Lookup[str]) -> None:
        database.gate.clear()
        leaves, stays = (asyncio.create_task(cache.find("known")) for _ in range(2))
        await asyncio.sleep(0)
        await asyncio.sleep(0)
        leaves.cancel()
        database.gate.set()
        assert await stays == "value"
        assert database.asked == ["known"]

    run(scenario)
