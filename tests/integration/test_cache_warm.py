"""Warming: what is used is counted, the most used is loaded first, and never more than the budget."""

from collections.abc import Iterator

import pytest
import redis

from shared.cache import keys
from shared.cache.kind import CHANNELS
from shared.cache.tiers import close_tiers, tiers
from shared.db.session import transact
from shared.store import accounts, channels, lookups, usage
from tasks import warm
from tests.conftest import RunningStack
from tests.waiting import eventually


@pytest.fixture
def cache(clean: RunningStack) -> Iterator[redis.Redis]:
    """The cache's Redis, and a process that has used nothing yet."""
    close_tiers()
    with redis.Redis.from_url(clean.cache_url) as client:
        yield client
    close_tiers()


def new_channels(count: int) -> list[str]:
    account = transact(lambda session: accounts.create(session, "tenant"))
    return [transact(lambda session: channels.add(session, account.id, "standard")).id for _ in range(count)]


def used(cache: redis.Redis, counts: dict[str, float], hours_ago: int = 0) -> None:
    """As if processes had counted so many uses of channels."""
    cache.zadd(keys.usage(CHANNELS, hour(cache) - hours_ago), counts)


def hour(cache: redis.Redis) -> int:
    return int(cache.time()[0]) // 3600


def test_reads_beyond_a_processs_copies_are_counted_by_the_hour(cache: redis.Redis) -> None:
    first, second = new_channels(2)
    lookup = lookups.lookups()[0]
    for wanted in ([first], [first, second], [first]):
        lookup.cache.get_many(wanted, lookup.load_many)
        lookup.cache.copies.clear()
    eventually("they are counted", lambda: cache.zcard(keys.usage(CHANNELS, hour(cache))) == 2)
    assert cache.zrange(keys.usage(CHANNELS, hour(cache)), 0, -1, desc=True, withscores=True) == [
        (first.encode(), 3.0),
        (second.encode(), 1.0),
    ]
    assert cache.ttl(keys.usage(CHANNELS, hour(cache))) > 3 * 3600


def test_the_most_used_come_first_and_an_hour_counts_half_of_the_next(cache: redis.Redis) -> None:
    used(cache, {"now": 10, "both": 6})
    used(cache, {"before": 12, "both": 10}, hours_ago=1)
    used(cache, {"long ago": 1_000}, hours_ago=3)
    remote = tiers().remote
    assert remote
    assert usage.top(remote, CHANNELS, 10) == ["both", "now", "before"]


def test_counting_is_bounded_in_the_process_and_in_redis(cache: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(usage, "PENDING_MAX", 5)
    monkeypatch.setattr(usage, "KEYS_MAX", 3)
    remote = tiers().remote
    assert remote
    remote.read(["anything"])  # it knows the server's clock from then on
    counter = usage.Usage(remote)
    for number in range(100):
        counter.count(CHANNELS, [f"k{number}"])
    counter.count(CHANNELS, ["k4"])
    counter.flush()
    assert cache.zcard(keys.usage(CHANNELS, hour(cache))) == 3


def test_what_was_used_is_loaded_a_hundred_a_query_and_what_is_there_is_not(cache: redis.Redis) -> None:
    ids = new_channels(5)
    used(cache, {**dict.fromkeys(ids, 5), **{f"00000000-0000-4000-8000-{number:012d}": 1 for number in range(145)}})
    first = {it.cache: it for it in warm.warm()}[CHANNELS]
    assert (first.keys, first.loaded, first.queries, first.complete) == (150, 150, 2, True)
    close_tiers()
    again = {it.cache: it for it in warm.warm()}[CHANNELS]
    assert (again.keys, again.loaded, again.queries, again.complete) == (150, 0, 0, True)


@pytest.mark.parametrize("budget", [{"queries": 1}, {"seconds": 0.000001}])
def test_a_budget_ends_it_and_says_so(cache: redis.Redis, budget: dict[str, float]) -> None:
    used(cache, {f"00000000-0000-4000-8000-{number:012d}": 1 for number in range(150)})
    warmed = {it.cache: it for it in warm.warm(**budget)}[CHANNELS]  # type: ignore[arg-type]
    assert warmed.queries <= 1
    assert not warmed.complete


def test_without_redis_there_is_nothing_to_warm(cache: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    from shared.settings import settings

    monkeypatch.setenv("HEADRACE_CACHE_URL", "redis://127.0.0.1:1/0")
    settings.cache_clear()
    close_tiers()
    try:
        assert [(it.keys, it.complete) for it in warm.warm()] == [(0, True)] * 2
    finally:
        monkeypatch.undo()
        settings.cache_clear()
        close_tiers()
