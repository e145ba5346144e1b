"""The cache when its Redis is dead, hangs, loses a connection, fails over, or is a Cluster."""

from typing import Any

import pytest
import redis

from shared.breaker import State
from shared.cache import keys
from shared.cache.change import Change
from shared.cache.redis import Remote
from shared.cache.tiered import Cache
from shared.cache.tiers import Tiers
from tests.caches import KIND, Source, Start, Value, change, process
from tests.redis_cluster import cluster
from tests.redis_server import EMBEDDED, RedisServer
from tests.sentinel import sentinel_group
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually


def test_a_dead_redis_costs_one_failure_and_is_found_again_when_it_is_back(start_cache: Start, cache_server: RedisServer) -> None:
    source = Source(**{f"k{number}": "v" for number in range(50)})
    tiers, cache = start_cache()
    assert tiers.remote
    source.get(cache, "k0")
    cache_server.kill()
    try:
        for key in source.rows:
            assert source.get(cache, key) == "v"
        assert tiers.remote.breaker.state is State.OPEN
        assert not tiers.tell(change("k0"))
        assert not cache.has_copy("k0")
    finally:
        cache_server.start()
    eventually("it is told of changes again", lambda: tiers.listening and tiers.remote.breaker.state is State.CLOSED)
    assert source.get(cache, "k0") == "v"
    assert cache_server.client.exists(keys.value(KIND, "k0"))


def test_a_redis_that_hangs_costs_one_time_out_for_many_calls(start_cache: Start, cache_server: RedisServer) -> None:
    source = Source(**{f"k{number}": "v" for number in range(50)})
    with TcpProxy.running(("127.0.0.1", cache_server.port)) as proxy:
        tiers, cache = start_cache(f"redis://127.0.0.1:{proxy.port}/0", timeout=0.25)
        assert tiers.remote
        source.get(cache, "k0")
        proxy.stall()
        calls = count_calls(tiers)
        for key in source.rows:
            assert source.get(cache, key) == "v"
        assert calls == ["read"]
        proxy.flow()


def count_calls(tiers: Tiers) -> list[str]:
    """The operations that are really tried from now on."""
    remote, calls = tiers.remote, []
    assert remote
    run, allows = remote.run, remote.breaker.allows

    def counted(operation: str, work: Any) -> Any:
        return run(operation, lambda client: (calls.append(operation), work(client))[1])

    remote.run = counted  # type: ignore[method-assign]
    assert allows()
    return calls


@pytest.mark.parametrize("how", ["cut", "abandon"])
def test_changes_missed_on_a_lost_or_half_open_connection_are_made_good(
    start_cache: Start, cache_server: RedisServer, how: str
) -> None:
    source = Source(a="old")
    teller, _ = start_cache()
    with TcpProxy.running(("127.0.0.1", cache_server.port)) as proxy:
        tiers, cache = start_cache(f"redis://127.0.0.1:{proxy.port}/0", timeout=0.25)
        source.get(cache, "a")
        generation = cache.copies.generation
        getattr(proxy, how)()
        source.rows["a"] = "new"
        assert teller.tell(change("a"))
        assert cache.has_copy("a"), "it cannot have heard"
        if how == "cut":
            proxy.start()
        eventually("it listens again", lambda: cache.copies.generation > generation and tiers.listening, within=40)
        assert tiers.remote
        eventually("it asks Redis again", lambda: source.get(cache, "a") == "new", within=20)


def test_a_failover_of_sentinel_is_survived(tmp_path_factory: pytest.TempPathFactory) -> None:
    source = Source(a="one", b="two")
    with sentinel_group(EMBEDDED, tmp_path_factory.mktemp("sentinel")) as group:
        tiers, cache = process(group.url)
        try:
            assert source.get(cache, "a") == "one"
            assert group.master.client.exists(keys.value(KIND, "a"))
            group.failover()
            assert source.get(cache, "b") == "two"
            eventually("it is told of changes", lambda: tiers.listening, within=30)
            eventually("the new master takes values", lambda: stored_in(group.master.client, cache, source), within=30)
        finally:
            tiers.close()


def stored_in(client: redis.Redis, cache: Cache[Value], source: Source) -> bool:
    cache.copies.drop("a")
    source.get(cache, "a")
    return bool(client.exists(keys.value(KIND, "a")))


def test_a_cluster_serves_batches_over_all_its_nodes_and_tells_every_process(tmp_path_factory: pytest.TempPathFactory) -> None:
    source = Source(**{f"k{number}": "old" for number in range(100)})
    with cluster(EMBEDDED, tmp_path_factory.mktemp("cluster")) as nodes:
        (tiers, first), (others, second) = process(nodes.url), process(nodes.url)
        try:
            for cache in (first, second):
                assert source.get_many(cache, *source.rows) == source.rows
            assert len(source.asked) == 1
            assert all(node.client.dbsize() > 10 for node in nodes.masters)
            source.rows.update(k1="new", k2="new")
            assert tiers.tell(change("k1"))
            assert tiers.tell([Change(tags=("owner:ada",))])
            eventually("it has heard", lambda: not second.has_copy("k1") and not second.has_copy("k2"))
            assert source.get_many(second, *source.rows) == source.rows
            assert source.get_many(first, *source.rows) == source.rows
            assert len(source.asked) == 2
            assert tiers.remote
            assert tiers.remote.breaker.state is State.CLOSED
            assert tiers.tell([Change(KIND.name, everything=True)])
            assert nodes.keys("headrace:cache:{*") == []
        finally:
            tiers.close()
            others.close()


def test_a_cluster_that_is_away_is_gone_without_and_found_when_it_comes() -> None:
    tiers = Tiers(Remote("cluster://127.0.0.1:1", master="", timeout=0.25))
    source, cache = Source(a="one"), tiers.cache(KIND, Value)
    assert [source.get(cache, "a") for _ in range(2)] == ["one"] * 2
    assert len(source.asked) == 1
    tiers.close()
