"""The rules of `headrace check`: each names the setting and the fix."""

from pathlib import Path
from typing import Any

import pytest

from shared.settings import Settings, masked
from workers.configuration import DatabaseFacts, Facts, Fault, Fleet, RedisFacts, connections, faults
from workers.lifecycle import CHILD

FLEET = Fleet(workers=2, ingresses=1)
DATABASE = DatabaseFacts(100, 3, "0001", "0001")
BROKER = RedisFacts("a", "noeviction", "yes", "always")
CACHE = RedisFacts("b", "allkeys-lfu", "no", "everysec")
SOUND = Facts(DATABASE, BROKER, CACHE)


def found(facts: Facts = SOUND, fleet: Fleet = FLEET, **changes: Any) -> list[Fault]:
    return faults(Settings(data_dir=Path("/nonexistent"), **changes), facts, fleet)


def test_the_defaults_are_sound() -> None:
    assert found() == []
    assert found(Facts()) == []


@pytest.mark.parametrize(
    ("changes", "setting"),
    [
        ({"database_lock_ms": 10_000}, "HEADRACE_DATABASE_LOCK_MS"),
        ({"database_statement_ms": 60_000}, "HEADRACE_DATABASE_STATEMENT_MS"),
        ({"database_connect_seconds": 60}, "HEADRACE_DATABASE_CONNECT_SECONDS"),
        (
            {"broker_timeout_seconds": 15},
            "HEADRACE_BROKER_TIMEOUT_SECONDS",
        ),
        ({"prefetch_messages": 199}, "HEADRACE_PREFETCH_MESSAGES"),
        ({"publish_waiting_max": 100}, "HEADRACE_PUBLISH_WAITING_MAX"),
        ({"lanes": 3}, "HEADRACE_LANES"),
        ({"flower_port": 8080}, "HEADRACE_INGRESS_PORT"),
        ({"exporter_port": 8080}, "HEADRACE_INGRESS_PORT"),
    ],
)
def test_settings_that_do_not_fit_each_other_are_one_named_fault(changes: dict[str, Any], setting: str) -> None:
    (fault,) = found(**changes)
    assert fault.setting == setting
    assert fault.problem
    assert fault.fix


def test_pools_are_counted_against_what_the_server_leaves_us() -> None:
    config = Settings(data_dir=Path("/nonexistent"))
    wanted = connections(config, FLEET)
    assert found(SOUND._replace(database=DATABASE._replace(max_connections=wanted + 3))) == []
    (fault,) = found(SOUND._replace(database=DATABASE._replace(max_connections=wanted + 2)))
    assert fault.setting == "HEADRACE_DATABASE_POOL"
    assert f"max_connections = {wanted + 3}" in fault.fix


def test_an_overflow_counts_like_the_pool_and_so_does_every_child() -> None:
    config = Settings(data_dir=Path("/nonexistent"))
    more = config.model_copy(update={"database_overflow": config.database_overflow + 5, "worker_children": 3})
    assert connections(more, FLEET) == connections(config, FLEET) + 5 + FLEET.workers * CHILD.connections


@pytest.mark.parametrize("limit", ["role_limit", "database_limit"])
def test_a_limit_of_our_role_or_our_database_counts_too(limit: str) -> None:
    (fault,) = found(SOUND._replace(database=DATABASE._replace(**{limit: 5})))
    assert "CONNECTION LIMIT" in fault.fix


def test_behind_pgbouncer_the_servers_own_limit_is_not_ours() -> None:
    few = SOUND._replace(database=DATABASE._replace(max_connections=10))
    assert found(few)
    assert found(few, database_pgbouncer=True) == []


def test_limits_that_do_not_arrive_name_pgbouncer() -> None:
    (fault,) = found(SOUND._replace(database=DATABASE._replace(statement_ms=0)))
    assert "HEADRACE_DATABASE_PGBOUNCER=true" in fault.fix


def test_a_pooler_that_nobody_named_is_a_fault_even_where_the_limits_happen_to_be_ours() -> None:
    pooled = SOUND._replace(database=DATABASE._replace(pooled=True, statement_ms=10_000))
    (fault,) = found(pooled)
    assert fault.setting == "HEADRACE_DATABASE_PGBOUNCER"
    assert found(pooled, database_pgbouncer=True) == []


def test_a_replica_must_follow_this_primary_and_have_room() -> None:
    primary = DATABASE._replace(system=1)
    follower = primary._replace(follows=True)
    whole = SOUND._replace(database=primary, replica=follower)
    assert found(whole) == []
    for wrong in (follower._replace(system=2), follower._replace(follows=False), follower._replace(max_connections=9)):
        (fault,) = found(whole._replace(replica=wrong))
        assert fault.setting == "HEADRACE_REPLICA_URL"
    (fault,) = found(whole._replace(database=follower))
    assert "a replica" in fault.problem


def test_a_schema_of_another_revision_wants_an_upgrade() -> None:
    (fault,) = found(SOUND._replace(database=DATABASE._replace(revision=None)))
    assert "headrace db upgrade" in fault.fix


@pytest.mark.parametrize(
    ("change", "fix"),
    [
        ({"maxmemory_policy": "allkeys-lru"}, "CONFIG SET maxmemory-policy noeviction"),
        ({"appendonly": "no"}, "CONFIG SET appendonly yes"),
        ({"appendfsync": "everysec"}, "CONFIG SET appendfsync always"),
    ],
)
def test_a_broker_that_may_lose_messages_is_a_fault(change: dict[str, str], fix: str) -> None:
    (fault,) = found(SOUND._replace(broker=BROKER._replace(**change)))
    assert fix in fault.fix


def test_a_server_that_hides_its_configuration_is_believed() -> None:
    assert found(SOUND._replace(broker=RedisFacts("a", None, None, None), cache=RedisFacts("b", None, None, None))) == []


def test_broker_and_cache_must_be_two_servers_and_the_cache_must_evict() -> None:
    (same,) = found(SOUND._replace(cache=CACHE._replace(run_id="a")))
    assert same.setting == "HEADRACE_CACHE_URL"
    (keeps,) = found(SOUND._replace(cache=CACHE._replace(maxmemory_policy="noeviction")))
    assert "allkeys-lfu" in keeps.fix
    (unbounded,) = found(SOUND._replace(cache=CACHE._replace(maxmemory=0)))
    assert "CONFIG SET maxmemory 64mb" in unbounded.fix


def test_a_node_of_a_cluster_must_be_named_as_one() -> None:
    node = SOUND._replace(cache=CACHE._replace(is_cluster_node=True))
    (fault,) = found(node, cache_url="redis://host:7000/0")
    assert "cluster://" in fault.fix
    assert found(node, cache_url="cluster://host:7000;cluster://host:7001") == []


@pytest.mark.parametrize(
    ("url", "shown"),
    [
        ("postgresql://me:pa%40ss@host:5432/db", "postgresql://me:***@host:5432/db"),
        ("postgresql://me:p@ss@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me:pa/s@s/w;ord@host/db", "postgresql://me:***@host/db"),
        ("postgresql://me@host/db?password=hush&sslmode=require", "postgresql://me@host/db?password=***&sslmode=require"),
        ("redis://:hush@host:6379/0", "redis://:***@host:6379/0"),
        ("sentinel://:one@a:26379;sentinel://:two@b:26379", "sentinel://:***@a:26379;sentinel://:***@b:26379"),
        ("redis://host:6379/0", "redis://host:6379/0"),
        ("", ""),
    ],
)
def test_a_shown_url_has_no_password(url: str, shown: str) -> None:
    assert masked(url) == shown


def test_more_slots_than_lanes_is_a_warning_for_the_fleet_and_for_what_the_autoscaler_may_make_of_it() -> None:
    assert found(fleet=FLEET._replace(workers=16), autoscaler_workers_max=16) == []
    (many,) = found(fleet=FLEET._replace(workers=17))
    (may_become,) = found(autoscaler_workers_max=17)
    assert (many.setting, may_become.setting) == ("HEADRACE_LANES", "HEADRACE_AUTOSCALER_WORKERS_MAX")
    for fault in (many, may_become):
        assert not fault.serious
        assert "32 lanes for 34 slots" in fault.problem
        assert "run 16 workers at most" in fault.fix
