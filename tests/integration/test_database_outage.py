"""The database goes away under load: messages wait, none is blamed, none is lost, and all are stored once it is back."""

import os
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from pytest_celery import CeleryTestWorker

from shared.db.engine import close_engine
from shared.db.migrate import upgrade
from shared.producer import Producer
from shared.settings import settings
from tests.conftest import RunningStack
from tests.factory import assert_sequences_whole, count, message, new_account, queued
from tests.waiting import eventually
from workers.local import postgres, secret
from workers.local.child import Child
from workers.local.identity import end

OUTAGE_SECONDS = float(os.environ.get("OUTAGE_SECONDS", "6"))
"""Twenty in the long form: OUTAGE_SECONDS=20 make test ARGS=tests/integration/test_database_outage.py"""


class Database:
    """A PostgreSQL of this test's own, to be stopped and started."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._secret = secret.renewed(None)
        self.url = postgres.url(directory, self._secret)
        self._child: Child | None = None

    def start(self) -> None:
        program = postgres.server(self._directory, self._secret)
        self._child = Child(program, self._directory / "log")
        eventually("the database answers", program.is_ready)

    def stop(self) -> None:
        if self._child:
            end([self._child.stoppable])
            self._child.reap()
            self._child = None


@pytest.fixture
def database(clean: RunningStack, reachable_dir: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Database]:
    directory = Path(tempfile.mkdtemp(prefix="database-", dir=reachable_dir))
    directory.chmod(0o711)
    it = Database(directory)
    it.start()
    close_engine()
    monkeypatch.setenv("HEADRACE_DATABASE_URL", it.url)
    settings.cache_clear()
    upgrade()
    yield it
    close_engine()
    it.stop()
    monkeypatch.undo()
    settings.cache_clear()


def test_a_stopped_database_under_load_loses_nothing_and_dead_letters_nothing(
    database: Database, start_worker: Callable[..., CeleryTestWorker], producer: Producer
) -> None:
    account = new_account()
    node = start_worker(HEADRACE_DATABASE_URL=database.url)
    sent = 0

    def send(messages: int) -> None:
        nonlocal sent
        producer.publish([queued(account, message(f"m{n}", f"c{n % 40}")) for n in range(sent, sent + messages)])
        sent += messages

    send(500)
    eventually("work is under way", lambda: count("SELECT count(*) FROM messages") > 0)
    database.stop()
    for _ in range(int(OUTAGE_SECONDS * 2)):
        send(50)
        with pytest.raises(AssertionError):
            eventually("half a second of the outage", lambda: False, within=0.5)
    assert node.container.status == "running"
    database.start()
    eventually("all are stored", lambda: count("SELECT count(*) FROM messages") == sent, within=60)
    assert count("SELECT count(*) FROM dead_letters") == 0
    assert_sequences_whole()


def test_connections_that_are_killed_again_and_again_cost_no_message(
    database: Database, start_worker: Callable[..., CeleryTestWorker], producer: Producer
) -> None:
    account = new_account()
    start_worker(HEADRACE_DATABASE_URL=database.url)
    for start in range(0, 2_000, 100):
        producer.publish([queued(account, message(f"m{n}", f"c{n % 40}")) for n in range(start, start + 100)])
        with psycopg.connect(database.url, autocommit=True) as connection:
            connection.execute(
                "SELECT pg_terminate_backend(pid) FROM pg_stat_activity"
                " WHERE application_name LIKE 'headrace%' AND pid <> pg_backend_pid()"
            )
    close_engine()
    eventually("all are stored", lambda: count("SELECT count(*) FROM messages") == 2_000, within=60)
    assert count("SELECT count(*) FROM dead_letters") == 0
    assert_sequences_whole()
