"""The cache in one process: freshness, absences, bounds, stale values, early refresh, one load at a time."""

import random
import sys
import threading
from collections import Counter

import pytest

from shared.cache.entry import Entry, freshness
from shared.cache.memory import OVERHEAD_BYTES, Memory
from shared.cache.tiered import cached
from tests.caches import Clock, Source, Value, local_cache


@pytest.fixture
def clock() -> Clock:
    return Clock()


def test_a_value_is_loaded_once_while_it_is_fresh(clock: Clock) -> None:
    cache, source = local_cache(clock, fresh_seconds=60, local_seconds=60), Source(a="one")
    assert [source.get(cache, "a") for _ in range(3)] == ["one"] * 3
    source.rows["a"] = "two"
    clock.now += 59.9
    assert source.get(cache, "a") == "one"
    clock.now += 0.2
    assert source.get(cache, "a") == "two"
    assert source.asked == [["a"], ["a"]]


def test_a_lifetime_of_ones_own_replaces_the_kinds(clock: Clock) -> None:
    cache = local_cache(clock)
    assert cache.get_or_load("a", lambda: Value("one"), ttl=1) == Value("one")
    clock.now += 1.1
    assert cache.get_or_load("a", lambda: Value("two")) == Value("two")


def test_absence_is_a_value_with_a_shorter_life(clock: Clock) -> None:
    cache, source = local_cache(clock, absent_seconds=10), Source()
    assert source.get(cache, "a") is None
    assert source.get(cache, "a") is None
    assert len(source.asked) == 1
    source.rows["a"] = "here"
    clock.now += 10.1
    assert source.get(cache, "a") == "here"


def test_absences_push_out_nothing_that_exists(clock: Clock) -> None:
    cache, source = local_cache(clock, entries_max=10), Source(known="value")
    source.get(cache, "known")
    for number in range(100):
        assert source.get(cache, f"made up {number}") is None
    asked = len(source.asked)
    assert source.get(cache, "known") == "value"
    assert len(source.asked) == asked


def test_many_keys_are_one_load_of_those_that_are_missing(clock: Clock) -> None:
    cache, source = local_cache(clock), Source(a="1", b="2", c="3")
    source.get(cache, "a")
    assert source.get_many(cache, "a", "b", "none", "b", "c") == {"a": "1", "b": "2", "c": "3"}
    assert source.asked == [["a"], ["b", "none", "c"]]
    assert source.get_many(cache, "a", "b", "none", "c") == {"a": "1", "b": "2", "c": "3"}
    assert len(source.asked) == 2


def test_a_decorated_function_runs_once_a_key(clock: Clock) -> None:
    calls: Counter[str] = Counter()

    @cached(local_cache(clock), key=lambda account, name: f"{account}:{name}")
    def find(account: str, name: str) -> Value | None:
        calls[name] += 1
        return Value(name) if name != "nobody" else None

    assert [find("a", "ada"), find("a", "ada"), find("a", name="nobody"), find("a", name="nobody")] == [Value("ada")] * 2 + [
        None
    ] * 2
    assert calls == {"ada": 1, "nobody": 1}


def test_copies_are_bounded_by_entries_and_by_bytes_the_least_recently_used_goes_first(clock: Clock) -> None:
    cache, source = local_cache(clock, entries_max=3), Source(**dict.fromkeys("abcd", "x"))
    for key in "abcad":
        source.get(cache, key)
    assert [cache.has_copy(key) for key in "abcd"] == [True, False, True, True]
    assert cache.counts.evictions == 1

    heavy = local_cache(clock, bytes_max=10 * OVERHEAD_BYTES)
    for number in range(50):
        source.rows[f"k{number}"] = "y" * OVERHEAD_BYTES
        source.get(heavy, f"k{number}")
    assert 0 < heavy.copies.found.bytes <= 10 * OVERHEAD_BYTES
    assert 3 <= len(heavy.copies.found) <= 5
    source.rows["huge"] = "z" * 11 * OVERHEAD_BYTES
    assert source.get(heavy, "huge") == source.rows["huge"]
    assert not heavy.has_copy("huge")
    assert heavy.has_copy("k49")


def test_while_the_source_fails_a_value_serves_stale_for_a_bounded_time(clock: Clock) -> None:
    cache, source = local_cache(clock, fresh_seconds=60, local_seconds=60, stale_seconds=120), Source(a="one")
    source.get(cache, "a")
    source.up = False
    clock.now += 179
    assert source.get(cache, "a") == "one"
    asked = len(source.asked)
    assert source.get(cache, "a") == "one"
    assert len(source.asked) == asked, "an outage is not met by every request"
    assert cache.counts.stale == 1
    clock.now += 2
    with pytest.raises(ConnectionError):
        source.get(cache, "a")
    source.up = True
    assert source.get(cache, "a") == "one"


def test_while_the_source_fails_nobody_is_told_that_there_is_none(clock: Clock) -> None:
    cache, source = local_cache(clock, absent_seconds=10), Source()
    assert source.get(cache, "a") is None
    source.up = False
    clock.now += 10.1
    for key in ("a", "never asked"):
        with pytest.raises(ConnectionError):
            source.get(cache, key)


def test_a_batch_with_a_key_that_has_nothing_to_serve_fails_whole(clock: Clock) -> None:
    cache, source = local_cache(clock), Source(a="1", b="2")
    source.get(cache, "a")
    source.up = False
    clock.now += 61
    assert source.get_many(cache, "a") == {"a": "1"}
    with pytest.raises(ConnectionError):
        source.get_many(cache, "a", "b")


def test_a_hundred_threads_that_miss_one_key_are_one_load(clock: Clock) -> None:
    cache, source = local_cache(clock), Source(a="one")
    source.gate.clear()
    answers: list[str | None] = []
    threads = [threading.Thread(target=lambda: answers.append(source.get(cache, "a"))) for _ in range(100)]
    for thread in threads:
        thread.start()
    assert source.entered.wait(15)
    source.gate.set()
    for thread in threads:
        thread.join()
    assert answers == ["one"] * 100
    assert source.asked == [["a"]]


def test_what_was_read_before_a_change_is_not_kept_after_it(clock: Clock) -> None:
    cache, source = local_cache(clock), Source(a="old")
    source.gate.clear()
    answers: list[str | None] = []
    early = threading.Thread(target=lambda: answers.append(source.get(cache, "a")))
    early.start()
    assert source.entered.wait(15)
    source.rows["a"] = "new"
    cache.copies.drop("a")
    source.gate.set()
    early.join()
    assert answers == ["old"], "it had asked before the change"
    assert source.get(cache, "a") == "new"


def test_who_asks_after_a_change_does_not_wait_for_who_asked_before_it(clock: Clock) -> None:
    cache, source = local_cache(clock), Source(a="old")
    source.gate.clear()
    early = threading.Thread(target=source.get, args=(cache, "a"))
    early.start()
    assert source.entered.wait(15)
    cache.copies.drop("a")
    assert cache.get_or_load("a", lambda: Value("new")) == Value("new")
    source.gate.set()
    early.join()
    assert cache.get_or_load("a", lambda: None) == Value("new")


@pytest.mark.parametrize("change", ["drop_tagged", "clear"])
def test_a_tag_and_everything_are_forgotten_with_what_is_under_way(clock: Clock, change: str) -> None:
    cache, source = local_cache(clock), Source(a="1", b="2")
    source.get_many(cache, "a", "b")
    cache.get_or_load("other", lambda: Value("3", owner="bob"))
    if change == "clear":
        cache.copies.clear()
    else:
        assert cache.copies.drop_tagged("owner:ada") == 2
    assert [cache.has_copy(key) for key in ("a", "b", "other")] == [False, False, change != "clear"]


def test_doubtful_copies_are_asked_for_anew_and_serve_while_the_source_fails(clock: Clock) -> None:
    cache, source = local_cache(clock), Source(a="one")
    source.get(cache, "a")
    cache.copies.doubt()
    source.up = False
    assert source.get(cache, "a") == "one"
    source.up, source.rows["a"] = True, "two"
    clock.now += 1.1
    assert source.get(cache, "a") == "two"


def test_the_nearer_the_end_and_the_dearer_the_load_the_likelier_is_an_early_refresh(clock: Clock) -> None:
    """XFetch: at a distance d from its end a value is refreshed with probability exp(-d / (delta * beta))."""
    cache = local_cache(clock, fresh_seconds=100, local_seconds=100, early=1.0)

    def slow() -> Value:
        clock.now += 2.0
        return Value("x")

    cache.get_or_load("a", slow)
    entry = cache.copies.found.get("a")
    assert entry
    assert entry.load_seconds == 2.0
    draws = 4_000
    for distance, expected in ((2.0, 0.368), (6.0, 0.0498)):
        now = entry.fresh_until - distance
        share = sum(entry.wants_refresh(now, 1.0) for _ in range(draws)) / draws
        assert share == pytest.approx(expected, abs=0.04)
    assert not any(entry.wants_refresh(entry.fresh_until - 41, 1.0) for _ in range(100))
    clock.now = entry.calm_until - 0.1
    assert cache.peek("a") is entry


def test_a_tag_finds_all_that_has_it_while_other_threads_read_write_and_drop() -> None:
    memory, stop = Memory(2_000, 2**40), threading.Event()

    def entry(*tags: str) -> Entry:
        times = {"fresh_until": 1.0, "local_until": 1.0, "stale_until": 1.0, "load_seconds": 0.0}
        return Entry("x", **times, size=1, tags=tags, generation=0, beta=0)

    def disturb(seed: int) -> None:
        dice = random.Random(seed)
        while not stop.is_set():
            key = str(dice.randrange(1_000))
            dice.choice((memory.get, memory.get, memory.drop, lambda key: memory.put(key, entry())))(key)

    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    threads = [threading.Thread(target=disturb, args=(seed,)) for seed in range(3)]
    for thread in threads:
        thread.start()
    try:
        for round_ in range(150):
            for number in range(20):
                memory.put(f"tagged-{round_}-{number}", entry("tag"))
            assert memory.drop_tagged("tag") == 20
    finally:
        stop.set()
        sys.setswitchinterval(interval)
        for thread in threads:
            thread.join()


@pytest.mark.parametrize("changes", [{"fresh_seconds": 48 * 3600}, {"stale_seconds": -1}, {"jitter": 2}])
def test_a_kind_that_would_outlive_its_invalidation_or_makes_no_sense_is_refused(clock: Clock, changes: dict[str, float]) -> None:
    with pytest.raises(ValueError, match="tests: "):
        local_cache(clock, **changes)


@pytest.mark.parametrize("ttl", [48 * 3600, -1])
def test_so_is_a_lifetime_of_ones_own(clock: Clock, ttl: float) -> None:
    cache = local_cache(clock)
    with pytest.raises(ValueError, match="tests: "):
        cache.get_or_load("a", lambda: Value("one"), ttl=ttl)


def test_jitter_only_shortens() -> None:
    lives = [freshness(100, 0.1) for _ in range(1_000)]
    assert 90 <= min(lives) < 92
    assert 98 < max(lives) <= 100
