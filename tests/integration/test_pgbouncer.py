"""The whole job behind the real PgBouncer in transaction mode, with fewer server connections than clients."""

import tempfile
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import psycopg
import pytest
from pytest_celery import CeleryTestWorker
from sqlalchemy import text

from shared.db.engine import close_engine, engine, use_pool_of
from shared.db.migrate import upgrade
from shared.db.session import WriteSession, fetch, transact
from shared.errors import ConfigurationError
from shared.producer import Producer
from shared.settings import settings
from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.factory import assert_sequences_whole, count, message, new_account, queued
from tests.pgbouncer import SERVER_CONNECTIONS, pgbouncer
from tests.running_ingress import running
from tests.waiting import eventually

CLIENTS = 8


@pytest.fixture(scope="module")
def bouncer(stack: RunningStack, reachable_dir: Path) -> Iterator[str]:
    """Its URL."""
    directory = Path(tempfile.mkdtemp(prefix="pgbouncer-", dir=reachable_dir))
    directory.chmod(0o711)
    with pgbouncer(stack.database_url, directory) as url:
        yield url


@pytest.fixture
def through(clean: RunningStack, bouncer: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[dict[str, str]]:
    """What a process needs to go through it; this one does."""
    environment = {"HEADRACE_DATABASE_URL": bouncer, "HEADRACE_DATABASE_PGBOUNCER": "true"}
    close_engine()
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    use_pool_of(CLIENTS)
    yield environment
    close_engine()
    use_pool_of(2)
    monkeypatch.undo()
    settings.cache_clear()


def test_a_fleet_stores_everything_once_and_answers_its_reads(
    through: dict[str, str], clean: RunningStack, start_worker: Callable[..., CeleryTestWorker], producer: Producer
) -> None:
    start_worker("w1", **through)
    start_worker("w2", **through)
    with running({**clean.environment, **through}) as ingress:
        account = new_account()
        for start in range(0, 3_000, 300):
            producer.publish([queued(account, message(f"m{n}", f"c{n % 40}")) for n in range(start, start + 300)])
        assert ingress.message("one").status == 202
        eventually("all are stored", lambda: count("SELECT count(*) FROM messages") == 3_001, within=60)
        bearer = {"Authorization": f"Bearer {ingress.api_key}"}
        assert b'"message_id":"one"' in ingress.request("GET", "/v1/conversations/c-1/messages", headers=bearer).body
    assert count("SELECT count(*) FROM dead_letters") == 0
    assert_sequences_whole()


def test_more_clients_than_server_connections_take_turns_and_none_fails(through: dict[str, str], clean: RunningStack) -> None:
    def work(number: int) -> int:
        insert = text("INSERT INTO accounts (id, name, api_key_hash) VALUES (gen_random_uuid(), :name, :key)")
        transact(lambda session: session.execute(insert, {"name": f"a{number}", "key": b"%d" % number}))
        return fetch(lambda session: session.execute(text("SELECT pg_backend_pid()")).scalar_one())

    with ThreadPoolExecutor(CLIENTS) as threads:
        pids = set(threads.map(work, range(200)))
    assert 1 <= len(pids) <= SERVER_CONNECTIONS
    assert count("SELECT count(*) FROM accounts") == 200


def test_the_limits_hold_in_each_transaction_and_stay_with_nobody_else(
    through: dict[str, str], clean: RunningStack, bouncer: str
) -> None:
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone")

    def shown(session: WriteSession) -> list[str]:
        return [session.execute(text(f"SHOW {name}")).scalar_one() for name in names]

    assert [transact(shown) for _ in range(10)] == [["10s", "5s", "15s", "UTC"]] * 10
    assert fetch(lambda session: session.execute(text("SHOW statement_timeout")).scalar_one()) == "10s"
    with psycopg.connect(bouncer, autocommit=True, prepare_threshold=None) as other:
        assert other.execute("SHOW statement_timeout").fetchone() == ("0",)


def test_nothing_is_prepared_in_a_session_that_is_somebody_elses_a_moment_later(through: dict[str, str]) -> None:
    """The driver would prepare what it has sent five times, under names that another client has given too."""
    with ExitStack() as held:
        clients = [held.enter_context(engine().connect()) for _ in range(2 * SERVER_CONNECTIONS)]
        for number in range(12):
            for client in clients:
                assert client.execute(text("SELECT CAST(:number AS int)"), {"number": number}).scalar_one() == number
                client.commit()


def test_an_upgrade_through_it_finds_nothing_to_do_or_says_where_to_go(through: dict[str, str], clean: RunningStack) -> None:
    """It sets limits for its session, and leaves them to whoever gets the session next."""
    newest = upgrade()
    with psycopg.connect(clean.database_url, autocommit=True) as server:
        server.execute("UPDATE alembic_version SET version_num = '0003'")
        try:
            with pytest.raises(ConfigurationError, match="the server's own HEADRACE_DATABASE_URL"):
                upgrade()
        finally:
            server.execute("UPDATE alembic_version SET version_num = %s", [newest])
    assert upgrade() == newest


def test_check_says_what_to_set_when_it_stands_between_and_nobody_said_so(
    through: dict[str, str], monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headrace = CommandLine(monkeypatch, capsys)
    assert headrace("check").code == 0
    monkeypatch.setenv("HEADRACE_DATABASE_PGBOUNCER", "false")
    settings.cache_clear()
    ended = headrace("check")
    assert ended.code == 1
    assert "set HEADRACE_DATABASE_PGBOUNCER=true" in ended.err


def test_check_notices_one_that_drops_our_limits_without_a_word(
    clean: RunningStack, reachable_dir: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headrace = CommandLine(monkeypatch, capsys)
    directory = Path(tempfile.mkdtemp(prefix="silent-", dir=reachable_dir))
    directory.chmod(0o711)
    try:
        with pgbouncer(clean.database_url, directory, "ignore_startup_parameters = extra_float_digits,options") as url:
            monkeypatch.setenv("HEADRACE_DATABASE_URL", url)
            settings.cache_clear()
            assert "a pooler stands before the server" in headrace("check").err
            monkeypatch.setenv("HEADRACE_DATABASE_PGBOUNCER", "true")
            settings.cache_clear()
            assert headrace("check").code == 0
    finally:
        monkeypatch.undo()
        settings.cache_clear()
