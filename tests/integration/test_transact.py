"""Transactions that are run again: which failures allow it, and what must not happen twice."""

from collections.abc import Callable, Iterator
from threading import Barrier, Thread

import psycopg
import pytest
from sqlalchemy import event, text
from sqlalchemy.exc import DBAPIError

from shared.db import fault
from shared.db.engine import close_engine, engine, use_pool_of
from shared.db.outage import is_outage
from shared.db.session import WriteSession, transact
from shared.settings import settings
from shared.store import accounts
from tests.commit_cutter import CommitCutter
from tests.conftest import RunningStack
from tests.factory import count, rows

INCREMENT = text("UPDATE conversations SET message_count = message_count + 1 WHERE external_id = :name")


@pytest.fixture
def cutter(clean: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[CommitCutter]:
    """This process reaches the database through it."""
    with CommitCutter.running(clean.data_dir / "postgres" / ".s.PGSQL.5432") as proxy:
        assert isinstance(proxy, CommitCutter)
        close_engine()
        at = clean.database_url.partition("@")[0] + f"@127.0.0.1:{proxy.port}/headrace"
        monkeypatch.setenv("HEADRACE_DATABASE_URL", at)
        settings.cache_clear()
        yield proxy
        close_engine()
        monkeypatch.undo()
        settings.cache_clear()


def new_account(session: WriteSession) -> None:
    accounts.create(session, "acme")


def test_a_commit_whose_answer_is_lost_is_not_repeated_unless_it_may_be(cutter: CommitCutter) -> None:
    cutter.cuts_max = 1
    with pytest.raises(DBAPIError) as lost:
        transact(new_account)
    assert is_outage(lost.value)
    assert cutter.cuts == 1
    assert count("SELECT count(*) FROM accounts") == 1, "it was done, once"


def test_work_that_may_be_repeated_after_its_commit_is(cutter: CommitCutter) -> None:
    cutter.cuts_max = fault.RUNS_MAX[fault.LOST] - 1
    runs = []

    def work(session: WriteSession) -> int:
        runs.append(session)
        session.execute(
            text("INSERT INTO accounts (id, name, api_key_hash) VALUES (gen_random_uuid(), 'a', 'a') ON CONFLICT DO NOTHING")
        )
        return len(runs)

    assert transact(work, idempotent=True) == fault.RUNS_MAX[fault.LOST]
    assert count("SELECT count(*) FROM accounts") == 1


def test_a_connection_that_breaks_before_the_commit_costs_a_rerun_and_nothing_else(clean: RunningStack) -> None:
    """Whatever the work is: nothing of it was committed."""
    runs = []

    def work(session: WriteSession) -> None:
        new_account(session)
        runs.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
        if len(runs) == 1:
            with psycopg.connect(clean.database_url, autocommit=True) as other:
                other.execute("SELECT pg_terminate_backend(%s, 5000)", [runs[0]])
        session.execute(text("SELECT 1"))

    transact(work)
    assert len(runs) == 2
    assert count("SELECT count(*) FROM accounts") == 1


def test_a_server_that_stays_away_ends_the_reruns(clean: RunningStack) -> None:
    runs = []

    def work(session: WriteSession) -> None:
        runs.append(session.execute(text("SELECT pg_backend_pid()")).scalar_one())
        with psycopg.connect(clean.database_url, autocommit=True) as other:
            other.execute("SELECT pg_terminate_backend(%s, 5000)", [runs[-1]])
        session.execute(text("SELECT 1"))

    with pytest.raises(DBAPIError) as lost:
        transact(work)
    assert len(runs) == fault.RUNS_MAX[fault.LOST]
    assert is_outage(lost.value)


def opposing(names: tuple[str, str], meet: Barrier, runs: list[str]) -> Callable[[WriteSession], None]:
    """Locks the two rows in this order; the first run waits in between until the opponent holds its first one."""

    def work(session: WriteSession) -> None:
        session.execute(INCREMENT, {"name": names[0]})
        runs.append(names[0])
        if runs.count(names[0]) == 1:
            meet.wait(10)
        session.execute(INCREMENT, {"name": names[1]})

    return work


def test_two_transactions_that_deadlock_both_have_their_effect(clean: RunningStack) -> None:
    use_pool_of(4)
    account = transact(lambda session: accounts.create(session, "acme")).id
    insert = text("INSERT INTO conversations (account_id, external_id) VALUES (:account, 'a'), (:account, 'b')")
    transact(lambda session: session.execute(insert, {"account": account}))
    meet, runs = Barrier(2), list[str]()
    threads = [Thread(target=transact, args=(opposing(names, meet, runs),)) for names in (("a", "b"), ("b", "a"))]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(runs) == 3, "one of them ran again"
    assert [tuple(row) for row in rows("SELECT external_id, message_count FROM conversations ORDER BY 1")] == [("a", 2), ("b", 2)]


def test_a_serialization_failure_is_run_again_and_sees_what_won(clean: RunningStack) -> None:
    account = transact(lambda session: accounts.create(session, "acme")).id
    insert = text("INSERT INTO conversations (account_id, external_id) VALUES (:account, 'a')")
    transact(lambda session: session.execute(insert, {"account": account}))
    runs = []

    def work(session: WriteSession) -> None:
        session.execute(text("SET TRANSACTION ISOLATION LEVEL REPEATABLE READ"))
        runs.append(session.execute(text("SELECT message_count FROM conversations")).scalar_one())
        if len(runs) == 1:
            with psycopg.connect(clean.database_url, autocommit=True) as other:
                other.execute("UPDATE conversations SET message_count = 10")
        session.execute(INCREMENT, {"name": "a"})

    transact(work)
    assert runs == [0, 10]
    assert count("SELECT message_count FROM conversations") == 11


@pytest.mark.parametrize(
    ("sql", "outage"),
    [
        ("SELEC 1", False),
        ("SELECT $1", False),
        ("INSERT INTO alembic_version VALUES ('a', 'b')", True),  # has a column too many, until the migration
        ("SELECT * FROM next_years_table", True),
        ("SELECT next_years_column FROM accounts", True),
    ],
)
def test_wrong_sql_is_a_bug_and_an_old_schema_is_an_outage(clean: RunningStack, sql: str, outage: bool) -> None:
    with pytest.raises(DBAPIError) as wrong:
        transact(lambda session: session.connection().exec_driver_sql(sql))
    assert is_outage(wrong.value) is outage


@pytest.fixture
def limits_in_each_transaction(clean: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """As behind PgBouncer: the first statement of a transaction is ours, and not SQLAlchemy's."""
    close_engine()
    monkeypatch.setenv("HEADRACE_DATABASE_PGBOUNCER", "true")
    settings.cache_clear()
    yield
    close_engine()
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.usefixtures("limits_in_each_transaction")
def test_a_connection_that_is_lost_as_the_transaction_begins_is_replaced(clean: RunningStack) -> None:
    ended: list[int] = []

    def end_the_first(connection: psycopg.Connection[object], *_: object) -> None:
        if not ended:
            ended.append(connection.info.backend_pid)
            with psycopg.connect(clean.database_url) as other:
                other.execute("SELECT pg_terminate_backend(%s, 10000)", ended)  # and waits until it has ended

    event.listen(engine(), "checkout", end_the_first)
    transact(new_account)
    assert ended
    assert count("SELECT count(*) FROM accounts") == 1
