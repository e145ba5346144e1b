"""Backups, rehearsed: a data directory is destroyed under load and restored by the scripts that we ship.

What is lost is what no backup had; repeating everything brings it back, and nothing has two effects.
"""

import shutil
import subprocess
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from shared.db.migrate import upgrade
from shared.db.session import transact
from shared.message import Message
from shared.producer import Producer
from shared.redis_client import connect
from shared.store import accounts
from tests.chaos.ledger import Ledger, stored
from tests.conftest import RunningStack
from tests.deploy.manifest import DEPLOY
from tests.deploy.postgres_server import SYSTEMS, Postgres, postgres, run, told
from tests.deploy.redis_users import Shipped, shipped
from tests.factory import assert_sequences_whole, count, message, new_account, queued, rows
from tests.nodes import ProcessContainer
from tests.redis_server import DEBIAN
from tests.waiting import eventually

needs_postgresql = pytest.mark.skipif(not SYSTEMS, reason="no PostgreSQL of the system: backups are verified by its program")

PART = 300
"""Messages between two events."""


@pytest.fixture
def server(clean: RunningStack, reachable_dir: Path) -> Iterator[Postgres]:
    """Ours, migrated; this process's settings point at it."""
    with postgres(reachable_dir / "restored") as it:
        with told(database_url=it.url("migrator")):
            upgrade()
        with told(database_url=it.url("app")):
            yield it
    shutil.rmtree(it.home)


def part(number: int) -> list[Message]:
    """Of seven conversations."""
    return [message(f"m{number}-{each:04d}", f"c{each % 7}") for each in range(PART)]


def send(producer: Producer, account: str, messages: Sequence[Message]) -> None:
    producer.publish([queued(account, it) for it in messages])


def archived(server: Postgres) -> None:
    """Until what is committed now is in the archive."""
    ((segment,),) = server.query("SELECT pg_walfile_name(pg_switch_wal())")
    eventually(f"{segment} is archived", (server.archive / segment).exists, within=30)


def back_up(server: Postgres) -> Path:
    backups = server.home / "backups"
    backups.mkdir()
    server.own(backups)
    url = {"HEADRACE_REPLICATION_URL": server.url("replication", "replication")}
    return Path(run("sh", DEPLOY / "postgres/backup.sh", backups, env=url).strip())


def restore(server: Postgres, backup: Path, *moment: str) -> None:
    run("sh", DEPLOY / "postgres/restore.sh", backup, server.archive, server.cluster, *moment)
    server.start()
    eventually("it is open again", lambda: server.query("SELECT pg_is_in_recovery()") == [(False,)], within=60)


@needs_postgresql
def test_a_destroyed_database_comes_back_to_the_last_archived_moment_and_repeating_brings_the_rest(
    clean: RunningStack, server: Postgres
) -> None:
    account = transact(lambda session: accounts.create(session, "tenant")).id
    worker = ProcessContainer("restored", {**clean.environment, "HEADRACE_DATABASE_URL": server.url("app")})
    producer = Producer(clean.broker_url)
    parts = [part(number) for number in range(4)]
    try:
        worker.start()
        send(producer, account, parts[0])
        eventually("the first part is stored", lambda: stored() == PART, within=60)
        backup = back_up(server)
        send(producer, account, parts[1])
        eventually("the second, too", lambda: stored() == 2 * PART, within=30)
        archived(server)
        send(producer, account, parts[2])
        eventually("the third, too, which no archive has", lambda: stored() == 3 * PART, within=30)
        server.destroy()
        send(producer, account, parts[3])  # waits in the broker
        restore(server, backup)
        eventually("what waited is stored", lambda: has(parts[3]), within=60)
        assert has([*parts[0], *parts[1]])
        assert_sequences_whole()
        send(producer, account, [it for each in parts for it in each])
        eventually("all are there", lambda: stored() == 4 * PART, within=60)
        eventually("nothing waits", lambda: nothing_waits(clean.broker_url), within=30)
        assert count("SELECT count(DISTINCT message_id) FROM messages") == stored() == 4 * PART
        assert count("SELECT count(*) FROM dead_letters") == 0
        assert_sequences_whole()
    finally:
        producer.close()
        worker.teardown()


@needs_postgresql
def test_a_mistake_is_undone_by_going_back_to_the_moment_before_it(server: Postgres) -> None:
    ids = [new_account(f"before-{number}") for number in range(3)]
    backup = back_up(server)
    ids.append(new_account("after the backup"))
    ((moment,),) = server.query("SELECT clock_timestamp()::text")
    server.query("DELETE FROM accounts", "app")
    archived(server)
    server.destroy()
    restore(server, backup, moment)
    assert {str(row[0]) for row in rows("SELECT id FROM accounts")} == set(ids)


@needs_postgresql
def test_a_restore_does_not_write_over_a_cluster(server: Postgres) -> None:
    backup = back_up(server)
    with pytest.raises(AssertionError, match="is not empty: move it away"):
        run("sh", DEPLOY / "postgres/restore.sh", backup, server.archive, server.cluster)


def has(messages: Sequence[Message]) -> bool:
    """Whether each of them is stored, once."""
    kept = [row[0] for row in rows("SELECT message_id FROM messages")]
    return len(kept) == len(set(kept)) and {it.message_id for it in messages} <= set(kept)


def nothing_waits(url: str) -> bool:
    with connect(url, timeout=5) as client:
        return not any(client.scan_iter(match="messages*")) and not any(client.scan_iter(match="headrace:claims:*"))


@pytest.mark.skipif(not DEBIAN, reason="no redis-server 7 on this machine")
def test_a_destroyed_broker_comes_back_to_its_backup_and_what_comes_twice_has_one_effect(
    clean: RunningStack, tmp_path: Path
) -> None:
    account, ledger = new_account(), Ledger()
    early, late = part(0), part(1)
    with shipped("broker.conf", tmp_path / "broker") as server:
        environment = {**clean.environment, "HEADRACE_BROKER_URL": server.url("worker"), "HEADRACE_LEASE_SECONDS": "2"}
        worker = ProcessContainer("restored", {**environment, "HEADRACE_BROKER_TIMEOUT_SECONDS": "1.5"})
        producer = Producer(server.url("ingress"))
        try:
            send(producer, account, early)
            copied = back_up_broker(tmp_path)
            worker.start()
            eventually("what the backup has is settled", lambda: stored() == PART and waits(server) == 0, within=40)
            worker.kill("SIGTERM")
            worker.wait()
            send(producer, account, late)
            server.kill()
            shutil.rmtree(tmp_path / "broker/appendonlydir")
            shutil.copytree(copied / "appendonlydir", tmp_path / "broker/appendonlydir")
            server.start()
            assert waits(server) == PART, "what was settled waits again; what came later was nowhere else"
            send(producer, account, late)  # its sender repeats it
            worker.start()
            ledger.enter([*early, *late])
            with server.client("operator") as client:
                ledger.settle(client, within=40)
        finally:
            producer.close()
            worker.teardown()


def back_up_broker(tmp_path: Path) -> Path:
    command = ["sh", DEPLOY / "redis/backup.sh", tmp_path / "broker", tmp_path / "backups"]
    return Path(subprocess.run(command, capture_output=True, text=True, check=True, timeout=30).stdout.strip())


def waits(server: Shipped) -> int:
    """Messages in lists."""
    with server.client("operator") as client:
        return sum(int(client.llen(name)) for name in client.scan_iter(match="messages*"))
