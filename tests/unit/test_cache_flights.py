"""One fetch a key in a process, and what becomes of those who wait for another's."""

import threading
from concurrent.futures import ThreadPoolExecutor, wait

import pytest

from shared.cache import tiered
from shared.cache.flights import Flight
from tests.caches import Clock, Source, local_cache


def test_who_waits_for_a_fetch_that_fails_for_another_key_gets_his_own_stale_value(monkeypatch: pytest.MonkeyPatch) -> None:
    clock, source, waits = Clock(), Source(a="1", b="2"), threading.Event()
    cache = local_cache(clock)
    source.get(cache, "a")
    source.up = False
    clock.now += 61
    source.entered.clear()
    source.gate.clear()

    def board_and_wait(flights: tuple[Flight, ...], seconds: float) -> object:
        waits.set()
        return wait(flights, seconds)

    monkeypatch.setattr(tiered, "wait", board_and_wait)
    with ThreadPoolExecutor(2) as threads:
        both = threads.submit(source.get_many, cache, "a", "b")
        assert source.entered.wait(15)
        one = threads.submit(source.get, cache, "a")
        assert waits.wait(15)
        source.gate.set()
        with pytest.raises(ConnectionError):
            both.result(15)
        assert one.result(15) == "1"
