"""`headrace doctor` on real servers: a fleet that is well, and one with each thing done to it."""

import json
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
import redis
from pytest_celery import CeleryTestWorker

from shared.broker import keys
from shared.broker.claims import Claims
from shared.db.engine import close_engine
from shared.db.session import transact
from shared.settings import settings
from shared.store import dead_letters
from shared.store.dead_letters import Letter
from tests.command_line import CommandLine, Ended
from tests.conftest import RunningStack
from tests.redis_server import EMBEDDED, running


@pytest.fixture
def headrace(
    clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> Iterator[Callable[..., Ended]]:
    """`headrace doctor --json`, its settings changed by the keywords."""
    command = CommandLine(monkeypatch, capsys)

    def doctor(**changes: str) -> Ended:
        with monkeypatch.context() as changed:
            for name, value in changes.items():
                changed.setenv(f"HEADRACE_{name.upper()}", value)
            settings.cache_clear()
            close_engine()
            ended = command("doctor", "--json")
        settings.cache_clear()
        close_engine()
        return ended

    yield doctor
    monkeypatch.undo()
    settings.cache_clear()


def findings(ended: Ended) -> list[tuple[str, str, str]]:
    return [(each["target"], each["level"], each["problem"]) for each in json.loads(ended.out)["findings"]]


def said(ended: Ended, target: str) -> str:
    """What was found about the one target."""
    return "; ".join(problem for who, _, problem in findings(ended) if who == target)


@pytest.fixture
def worker(broker: redis.Redis) -> None:
    """One that reads everything, as the broker knows it."""
    queues = [queue for queue in settings().queues if queue != "maintenance"]
    Claims(broker).join("w1", 60_000, lanes=settings().lanes, single_active=queues)


def test_a_running_fleet_is_well(headrace: Callable[..., Ended], start_worker: Callable[..., CeleryTestWorker]) -> None:
    start_worker()
    ended = headrace()
    assert (ended.code, findings(ended)) == (0, []), ended.out
    asked: dict[str, Any] = ended.json["asked"]
    assert asked.keys() == {"broker", "cache", "database", "workers", "dead letters"}
    assert asked["database"].startswith("PostgreSQL")
    assert asked["workers"].startswith("1 hold leases")


def test_a_fleet_without_workers_is_wrong_and_says_what_to_do(
    headrace: Callable[..., Ended], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    ended = headrace()
    assert ended.code == 1
    assert findings(ended) == [("workers", "wrong", "no worker holds a lease: nothing is stored")]
    shown = CommandLine(monkeypatch, capsys)("doctor")
    assert shown.code == 1
    assert "wrong: workers: no worker holds a lease" in shown.out
    assert "mend: start `headrace worker`" in shown.out


@pytest.mark.usefixtures("worker")
def test_what_an_operator_did_on_purpose_is_a_note_and_no_fault(headrace: Callable[..., Ended], broker: redis.Redis) -> None:
    Claims(broker).pause(["messages.03"])
    broker.lpush(keys.REFUSED + "messages", "garbage")
    letter = Letter("messages", "messages.store", "t-1", None, None, "because", [], {}, b"{}")
    transact(lambda session: dead_letters.bury(session, [letter]))
    ended = headrace()
    assert ended.code == 0, ended.out
    assert {level for _, level, _ in findings(ended)} == {"note"}
    assert "messages.03 paused" in said(ended, "queues")
    assert "set aside" in said(ended, "queues")
    assert "1 dead letters" in said(ended, "queues")


@pytest.mark.usefixtures("worker")
def test_a_process_with_other_lanes_than_the_fleet_is_wrong(headrace: Callable[..., Ended]) -> None:
    ended = headrace(lanes="16")
    assert ended.code == 1
    assert "HEADRACE_LANES is 16, the fleet has 32 lanes" in said(ended, "settings")


@pytest.mark.usefixtures("worker")
def test_servers_that_do_not_answer_are_each_one_finding(headrace: Callable[..., Ended]) -> None:
    nowhere = "127.0.0.1:20399"
    ended = headrace(cache_url=f"redis://{nowhere}/0", database_url=f"postgresql://a:secret@{nowhere}/b")
    assert ended.code == 1
    assert "no answer" in said(ended, "cache")
    assert "no answer" in said(ended, "database")
    assert "secret" not in ended.out
    ended = headrace(broker_url=f"redis://:secret@{nowhere}/0")
    assert [(who, level) for who, level, _ in findings(ended)] == [("broker", "wrong")]
    assert "secret" not in ended.out


@pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")
def test_a_broker_that_evicts_does_not_sync_and_is_full_is_told_apart(headrace: Callable[..., Ended], tmp_path: Path) -> None:
    """A Redis as it comes out of the box, filled."""
    with running(EMBEDDED, tmp_path, "--maxmemory", "4mb", "--maxmemory-policy", "allkeys-lru") as server:
        while server.client.info("memory")["used_memory"] < 3.6 * 2**20:
            server.client.lpush("messages", *["x" * 1_000] * 50)
        ended = headrace(broker_url=server.url)
    assert ended.code == 1
    about = said(ended, "broker")
    for problem in ("maxmemory-policy is allkeys-lru", "appendonly is no", "appendfsync is everysec", "full"):
        assert problem in about


@pytest.mark.usefixtures("worker")
def test_one_server_for_broker_and_cache_is_wrong(headrace: Callable[..., Ended], clean: RunningStack) -> None:
    ended = headrace(cache_url=clean.broker_url)
    assert ended.code == 1
    assert "broker and cache are one server" in said(ended, "cache")


@pytest.mark.usefixtures("worker")
def test_a_database_that_confirms_too_early_is_wrong(headrace: Callable[..., Ended], clean: RunningStack) -> None:
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        connection.execute("ALTER ROLE CURRENT_USER SET synchronous_commit = off")
        try:
            ended = headrace()
        finally:
            connection.execute("ALTER ROLE CURRENT_USER RESET synchronous_commit")
    assert ended.code == 1
    assert "synchronous_commit is off" in said(ended, "database")


@pytest.mark.usefixtures("worker")
def test_a_schema_that_is_behind_is_wrong(headrace: Callable[..., Ended], clean: RunningStack) -> None:
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        (revision,) = connection.execute("SELECT version_num FROM alembic_version").fetchone() or ("",)
        connection.execute("DELETE FROM alembic_version")
        try:
            ended = headrace()
        finally:
            connection.execute("INSERT INTO alembic_version VALUES (%s)", (revision,))
    assert "run `headrace db upgrade`" in ended.out
    assert ended.code == 1


def test_a_dead_workers_lane_and_a_late_message_are_found(headrace: Callable[..., Ended], broker: redis.Redis) -> None:
    """A worker that went with a claim, its lease gone from the books: nobody else may claim its lane."""
    claims = Claims(broker)
    lane = "messages.00"
    claims.join("w1", 60_000, lanes=settings().lanes, single_active=[lane])
    broker.lpush(lane, b'{"headers": {"headrace_accepted_at": 1}}')
    claims.claim("w1", [(lane, True)], 1)
    broker.zrem(keys.CONSUMERS, "w1")
    claims.join("w2", 60_000, lanes=settings().lanes, single_active=[lane])
    ended = headrace()
    assert ended.code == 1
    assert f"{lane} are held by a worker that is gone" in said(ended, "workers")
    assert "no live worker reads" in said(ended, "workers")
