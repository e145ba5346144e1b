"""The cache over a real Redis: what several processes' worth of it load, tell each other and leave alone."""

import threading
from time import monotonic

import pytest
import redis

from shared.cache import keys
from shared.cache.change import Change
from tests.benchmarks.cache import processes
from tests.benchmarks.cache_process import LOADS
from tests.caches import KIND, Source, Start, Value, change
from tests.conftest import RunningStack
from tests.redis_server import RedisServer
from tests.waiting import eventually


def test_what_one_process_loads_the_others_find_in_redis(start_cache: Start) -> None:
    source = Source(a="1", b="2")
    for _, cache in (start_cache(), start_cache(), start_cache()):
        assert source.get_many(cache, "a", "b", "none") == {"a": "1", "b": "2"}
    assert source.asked == [["a", "b", "none"]]


def test_a_batch_costs_one_mget(start_cache: Start, cache_server: RedisServer) -> None:
    source = Source(**{f"k{number}": "v" for number in range(400)})
    (_, first), (_, second) = start_cache(), start_cache()
    source.get_many(first, *source.rows)
    before = commands(cache_server)
    assert len(source.get_many(second, *source.rows)) == 400
    after = commands(cache_server)
    # One for the values, one for the stamp of the tag that all of them have.
    assert after.get("mget", 0) - before.get("mget", 0) == 2
    assert [after.get(name, 0) - before.get(name, 0) for name in ("get", "set", "eval")] == [0, 0, 0]


def commands(cache_server: RedisServer) -> dict[str, int]:
    return {name.removeprefix("cmdstat_"): each["calls"] for name, each in cache_server.client.info("commandstats").items()}


def test_a_change_reaches_every_process_and_redis(start_cache: Start) -> None:
    source = Source(a="old", b="other")
    processes = [start_cache() for _ in range(4)]
    for _, cache in processes:
        source.get_many(cache, "a", "b")
    source.rows["a"] = "new"
    assert processes[0][0].tell(change("a"))
    for _, cache in processes:
        eventually("it has heard", lambda cache=cache: not cache.has_copy("a"))
        assert cache.has_copy("b")
        assert source.get(cache, "a") == "new"
    assert source.asked == [["a", "b"], ["a"]]


def test_a_tag_takes_with_it_all_that_has_it_also_in_processes_that_start_later(start_cache: Start) -> None:
    source = Source(a="1", b="2")
    (tiers, first), (_, second) = start_cache(), start_cache()
    source.get_many(first, "a", "b")
    source.get_many(second, "a", "b")
    assert first.get_or_load("c", lambda: Value("3", owner="bob")) == Value("3", owner="bob")
    source.rows.update(a="changed", b="changed")
    assert tiers.tell([Change(tags=("owner:ada",))])
    eventually("it has heard", lambda: not second.has_copy("a"))
    _, late = start_cache()
    for cache in (late, second, first):
        assert source.get_many(cache, "a", "b") == {"a": "changed", "b": "changed"}
        assert cache.get_or_load("c", lambda: None) == Value("3", owner="bob")
    assert len(source.asked) == 2


def test_everything_of_a_kind_can_be_forgotten(start_cache: Start, cache_server: RedisServer) -> None:
    source = Source(a="1")
    (tiers, first), (_, second) = start_cache(), start_cache()
    source.get(first, "a")
    source.get(second, "a")
    cache_server.client.set("somebody elses", "key")
    assert tiers.tell([Change(KIND.name, everything=True)])
    eventually("it has heard", lambda: not second.has_copy("a"))
    source.get(second, "a")
    assert len(source.asked) == 2
    assert cache_server.client.get("somebody elses") == b"key"


def test_a_load_that_began_before_a_change_leaves_nothing_behind(start_cache: Start) -> None:
    source = Source(a="old")
    (tiers, first), (_, second) = start_cache(), start_cache()
    source.gate.clear()
    early = threading.Thread(target=source.get, args=(first, "a"))
    early.start()
    assert source.entered.wait(15)
    source.rows["a"] = "new"
    assert tiers.tell(change("a"))
    source.gate.set()
    early.join()
    for cache in (first, second):
        assert source.get(cache, "a") == "new"


def test_a_loader_that_dies_holds_a_key_only_for_its_lease(start_cache: Start, cache_server: RedisServer) -> None:
    source, (_, cache) = Source(a="one"), start_cache(load_seconds_max=0.2)
    cache_server.client.set(keys.lease(keys.value(KIND, "a")), "somebody dead", px=200)
    assert source.get(cache, "a") == "one"


def test_a_loader_that_fails_gives_the_key_to_the_next_at_once(start_cache: Start, cache_server: RedisServer) -> None:
    source, (_, cache) = Source(a="one"), start_cache()
    source.up = False
    with pytest.raises(ConnectionError):
        source.get(cache, "a")
    assert cache_server.client.keys("*:lease") == []
    source.up = True
    assert source.get(cache, "a") == "one"


def test_an_early_refresh_is_one_processs_work_and_the_others_serve_on(start_cache: Start) -> None:
    source = Source(a="old")
    (_, first), (_, second) = start_cache(fresh_seconds=60, early=1e9), start_cache(fresh_seconds=60, early=1e9)
    source.get(first, "a")  # with such a beta every read draws a refresh
    source.gate.clear()
    source.entered.clear()
    source.rows["a"] = "new"
    refresher = threading.Thread(target=source.get, args=(first, "a"))
    refresher.start()
    assert source.entered.wait(15)
    assert source.get(second, "a") == "old"
    source.gate.set()
    refresher.join()
    assert source.asked == [["a"]] * 2


def test_a_doubtful_copy_does_not_serve_while_another_process_loads(start_cache: Start, cache_server: RedisServer) -> None:
    source = Source(a="old")
    (_, first), (_, second) = start_cache(), start_cache()
    source.get(second, "a")
    second.copies.doubt()  # it has missed what follows
    source.rows["a"] = "new"
    cache_server.client.delete(keys.value(KIND, "a"))
    source.gate.clear()
    source.entered.clear()
    answers: list[str | None] = []
    loader = threading.Thread(target=source.get, args=(first, "a"))
    waiter = threading.Thread(target=lambda: answers.append(source.get(second, "a")))
    loader.start()
    assert source.entered.wait(15)
    waiter.start()
    waiter.join(0.2)
    source.gate.set()
    loader.join()
    waiter.join()
    assert answers == ["new"]
    assert source.asked == [["a"]] * 2


def test_an_absence_that_is_refreshed_early_is_asked_for_by_one(start_cache: Start) -> None:
    source = Source()
    (_, first), (_, second) = start_cache(early=1e9), start_cache(early=1e9)
    assert [source.get(cache, "a") for cache in (first, second, first)] == [None] * 3


def test_what_nobody_can_read_is_a_miss_and_is_replaced(start_cache: Start, cache_server: RedisServer) -> None:
    source, (_, cache) = Source(a="one"), start_cache()
    name = keys.value(KIND, "a")
    cache_server.client.set(name, b"\x80\x04\x95 a pickle of an older version")
    assert source.get(cache, "a") == "one"
    assert cache.codec.open(cache_server.client.get(name) or b"")


def test_another_version_of_the_code_sees_no_values_of_this_one_and_hears_its_changes(start_cache: Start) -> None:
    source = Source(a="old")
    (tiers, new), (_, old) = start_cache(version=8), start_cache(version=7)
    source.get(new, "a")
    source.get(old, "a")
    assert len(source.asked) == 2
    source.rows["a"] = "new"
    tiers.tell(change("a"))
    eventually("it has heard", lambda: not old.has_copy("a"))
    assert source.get(old, "a") == "new"
    assert source.get(new, "a") == "new"


def test_a_thousand_misses_of_one_key_at_once_in_four_processes_are_one_load(clean: RunningStack) -> None:
    with redis.Redis.from_url(clean.cache_url) as server, processes(clean, 4) as children:
        for child in children:
            child.tell("stampede", key="hot", threads=250, at=monotonic() + 0.5)
        assert sum(child.answer() for child in children) == 1_000
        assert int(server.get(LOADS) or 0) == 1
