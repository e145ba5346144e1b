"""The doctor's rules: each says what is wrong, what follows from it, and what to do."""

from types import SimpleNamespace
from typing import Any

import pytest

from workers.doctor import database, fleet, redis_server
from workers.doctor.finding import NOTE, WRONG, Diagnosis, Finding
from workers.doctor.fleet import FleetFacts
from workers.doctor.redis_server import RedisFacts
from workers.queues import QueueState

BROKER = RedisFacts(
    version="7.0.15",
    role="master",
    used_bytes=10 * 2**20,
    max_bytes=2**30,
    clients=10,
    clients_max=4_000,
    aof=True,
    aof_write_ok=True,
    aof_rewrite_ok=True,
    replicas=2,
    skew_seconds=0.0,
    answer_seconds=0.0002,
)
SERVER: dict[str, Any] = {
    "version": 180_004,
    "version_text": "18.4",
    "fsync": "on",
    "synchronous_commit": "on",
    "full_page_writes": "on",
    "in_recovery": False,
    "connections_max": 97,
    "connections": 20,
    "idle_seconds": 0.0,
    "frozen_age": 1_000,
    "clock": 1_000.0,
    "archive_fails": False,
    "retained_bytes": 0.0,
}
LANES = 2
QUEUES = ("webhooks.00", "webhooks.01", "messages", "messages.00", "messages.01", "maintenance")
FLEET = FleetFacts(
    lanes=LANES,
    leases={"w1": 12.0},
    reads={"w1": frozenset(QUEUES[:-1])},
    holders={"messages.00": "w1"},
    queues=[QueueState(name, 0, 0, None) for name in QUEUES],
    paused=set(),
    refused={},
    overdue_seconds=0.0,
)


def of_database(broker_clock: float | None = 1_000.0, standbys: tuple[Any, ...] = (), **changes: Any) -> list[Finding]:
    revision = changes.pop("revision", "0001")
    facts = database.DatabaseFacts(SimpleNamespace(**{**SERVER, **changes}), list(standbys), revision, "0001")
    return list(database.of_database(facts, broker_clock))


def of_broker(*, sentinel: bool = False, **changes: Any) -> list[Finding]:
    return list(redis_server.of_broker(BROKER._replace(**changes), sentinel=sentinel))


def of_fleet(*, lanes: int = LANES, dead: int | None = 0, **changes: Any) -> list[Finding]:
    facts = FLEET._replace(**changes)
    return [*fleet.of_workers(facts, lanes), *fleet.of_queues(facts, dead)]


def waiting(name: str, age: float | None) -> list[QueueState]:
    return [QueueState(each, 5 if each == name else 0, 0, age if each == name else None) for each in QUEUES]


def test_a_sound_fleet_has_no_finding() -> None:
    assert [*of_broker(), *of_broker(sentinel=True), *redis_server.of_cache(BROKER), *of_database(), *of_fleet()] == []


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"version": "6.0.16"}, WRONG, "6.0.16"),
        ({"role": "slave"}, WRONG, "replica"),
        ({"max_bytes": 0}, NOTE, "no maxmemory"),
        ({"used_bytes": 900 * 2**20}, WRONG, "900 of 1024 MB"),
        ({"aof_write_ok": False}, WRONG, "last write"),
        ({"aof_rewrite_ok": False}, WRONG, "rewrite"),
        ({"clients": 3_900}, WRONG, "3900 of 4000"),
        ({"skew_seconds": 5.0}, WRONG, "5.0 s ahead of"),
        ({"skew_seconds": -5.0}, WRONG, "5.0 s behind"),
        ({"answer_seconds": 0.2}, NOTE, "200 ms"),
        ({"sentinel": True, "replicas": 0}, WRONG, "nothing is accepted"),
        ({"sentinel": True, "replicas": 1}, NOTE, "1 replicas"),
    ],
)
def test_what_is_wrong_with_a_broker_is_one_finding(changes: dict[str, Any], level: str, said: str) -> None:
    assert_one(of_broker(**changes), "broker", level, said)


def test_a_cache_without_a_bound_is_wrong() -> None:
    assert_one(list(redis_server.of_cache(BROKER._replace(max_bytes=0))), "cache", WRONG, "never evicts")


@pytest.mark.parametrize(
    ("changes", "level", "said"),
    [
        ({"version": 140_009, "version_text": "14.9"}, WRONG, "14.9"),
        ({"in_recovery": True}, WRONG, "standby"),
        ({"fsync": "off"}, WRONG, "fsync is off"),
        ({"full_page_writes": "off"}, WRONG, "full_page_writes is off"),
        ({"synchronous_commit": "off"}, WRONG, "synchronous_commit is off"),
        ({"synchronous_commit": "local"}, WRONG, "synchronous_commit is local"),
        ({"archive_fails": True}, WRONG, "archiving"),
        ({"connections": 90}, WRONG, "90 of 97"),
        ({"idle_seconds": 45.0}, WRONG, "45 s"),
        ({"frozen_age": 1_500_000_000}, WRONG, "1,500,000,000"),
        ({"retained_bytes": 3.0 * 2**30}, NOTE, "3.0 GiB"),
        ({"revision": None}, WRONG, "revision none"),
        ({"broker_clock": 1_010.0}, WRONG, "10.0 s apart"),
        ({"standbys": (SimpleNamespace(name="standby1", state="streaming", lag_seconds=60.0),)}, WRONG, "standby1"),
    ],
)
def test_what_is_wrong_with_a_database_is_one_finding(changes: dict[str, Any], level: str, said: str) -> None:
    assert_one(of_database(**changes), "database", level, said)


@pytest.mark.parametrize(
    ("facts", "said"), [(database.ReplicaFacts(False, 0.0), "follows nobody"), (database.ReplicaFacts(True, 30.0), "30 s behind")]
)
def test_a_replica_that_cannot_serve_reads_is_wrong(facts: database.ReplicaFacts, said: str) -> None:
    assert_one(list(database.of_replica(facts)), "replica", WRONG, said)


@pytest.mark.parametrize(
    ("changes", "target", "level", "said"),
    [
        ({"lanes": 16}, "settings", WRONG, "HEADRACE_LANES is 16, the fleet has 2"),
        ({"leases": {}}, "workers", WRONG, "no worker holds a lease"),
        ({"leases": {"w1": 12.0, "w0": -90.0}}, "workers", WRONG, "w0 ended 90 s ago"),
        ({"reads": {"w1": frozenset(QUEUES[:4])}}, "workers", WRONG, "reads messages.01"),
        ({"holders": {"messages.00": "gone"}}, "workers", WRONG, "messages.00 are held by a worker that is gone"),
        ({"queues": waiting("messages.01", 90.0)}, "queues", WRONG, "oldest of 5 has waited 90 s"),
        ({"overdue_seconds": 40.0}, "queues", WRONG, "due for 40 s"),
        ({"paused": {"messages.01"}, "queues": waiting("messages.01", 90.0)}, "queues", NOTE, "messages.01 paused"),
        ({"refused": {"messages": 3}}, "queues", NOTE, "3 messages of messages are set aside"),
        ({"dead": 1_200}, "queues", NOTE, "1,200 dead letters"),
    ],
)
def test_what_is_wrong_with_workers_and_queues_is_one_finding(
    changes: dict[str, Any], target: str, level: str, said: str
) -> None:
    assert_one(of_fleet(**changes), target, level, said)


def test_a_lease_that_has_just_ended_a_short_wait_and_an_age_that_nobody_knows_are_no_findings() -> None:
    assert of_fleet(leases={"w1": 12.0, "w0": -3.0}) == []
    assert of_fleet(queues=waiting("messages", 5.0)) == []
    assert of_fleet(queues=waiting("messages", None), dead=None) == []


def test_a_fleet_with_notes_alone_is_well() -> None:
    assert Diagnosis({}, [Finding("queues", NOTE, "", "")]).ok
    assert not Diagnosis({}, [Finding("queues", NOTE, "", ""), Finding("broker", WRONG, "", "")]).ok


def assert_one(findings: list[Finding], target: str, level: str, said: str) -> None:
    (finding,) = findings
    assert (finding.target, finding.level) == (target, level)
    assert said in finding.problem
    assert finding.fix
