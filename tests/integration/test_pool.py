"""The pool against a real server: bounds, health, limits, names, and what of it is counted."""

import os
import threading
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from prometheus_client import REGISTRY
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, InternalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db import connection as connections
from shared.db.engine import close_engine, drop_inherited_engine, engine, use
from shared.db.outage import is_outage
from shared.db.role import TOOL, Role
from shared.db.session import fetch, read_session, transact, write_session
from shared.settings import settings
from tests.conftest import RunningStack
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

ROLE = Role("test", size=2, overflow=1, serves=True)


@pytest.fixture(autouse=True)
def pool(clean: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    close_engine()
    monkeypatch.setenv("HEADRACE_DATABASE_WAIT_SECONDS", "0.1")
    settings.cache_clear()
    use(ROLE)
    yield
    close_engine()
    use(TOOL)
    monkeypatch.undo()
    settings.cache_clear()


class Counted:
    """What was counted since it was made."""

    def __init__(self) -> None:
        self._before = self._read()

    def __getitem__(self, name: str) -> float:
        return self._read().get(name, 0) - self._before.get(name, 0)

    @staticmethod
    def _read() -> dict[str, float]:
        found = {}
        for metric in REGISTRY.collect():
            for sample in metric.samples:
                if sample.labels.get("server") == "primary" and sample.name.endswith(("_total", "_count")):
                    found[sample.labels.get("event", sample.name)] = sample.value
        return found


def open_connections(state: str) -> float | None:
    return REGISTRY.get_sample_value("headrace_db_pool_connections", {"server": "primary", "state": state})


def pid_of_a_checkout() -> int:
    with read_session() as session:
        return session.execute(text("SELECT pg_backend_pid()")).scalar_one()


def test_more_than_size_and_overflow_wait_and_are_refused_in_time_and_all_of_it_is_counted() -> None:
    counted = Counted()
    with ExitStack() as held:
        for _ in range(3):
            held.enter_context(engine().connect())
        assert (open_connections("in_use"), open_connections("idle")) == (3, 0)
        with pytest.raises(PoolTimeout) as refused:
            engine().connect()
        assert is_outage(refused.value)
    assert (open_connections("in_use"), open_connections("idle")) == (0, 2), "the overflow is closed on return"
    names = ("opened", "closed", "checked_out", "overflowed", "timed_out")
    assert [counted[name] for name in names] == [3, 1, 3, 1, 1]
    assert counted["headrace_db_pool_wait_seconds_count"] == 4
    close_engine()
    assert (open_connections("in_use"), open_connections("idle")) == (0, 0)


def test_a_handler_may_read_beside_its_transaction() -> None:
    use(ROLE._replace(size=1))
    with write_session() as outer:
        outer.execute(text("SELECT 1"))
        assert pid_of_a_checkout() > 0


def test_a_connection_that_was_killed_while_idle_is_replaced_and_nobody_notices(clean: RunningStack) -> None:
    counted, killed = Counted(), pid_of_a_checkout()
    with psycopg.connect(clean.database_url, autocommit=True) as other:
        other.execute("SELECT pg_terminate_backend(%s)", [killed])
        eventually("it is gone", lambda: not other.execute("SELECT FROM pg_stat_activity WHERE pid = %s", [killed]).fetchall())
    assert pid_of_a_checkout() != killed
    assert (counted["invalidated"], counted["opened"], counted["asked"]) == (1, 2, 1)


def test_a_connection_in_use_is_not_asked_how_it_is_and_one_that_was_idle_is(monkeypatch: pytest.MonkeyPatch) -> None:
    counted, first = Counted(), pid_of_a_checkout()
    for _ in range(20):
        assert pid_of_a_checkout() == first
    assert counted["asked"] == 0
    monkeypatch.setattr("shared.db.health.IDLE_SECONDS_MAX", 0)
    assert pid_of_a_checkout() == first
    assert counted["asked"] == 1


def test_an_old_connection_is_recycled_and_that_is_no_loss(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_DATABASE_RECYCLE_SECONDS", "10")
    settings.cache_clear()
    monkeypatch.setattr("shared.db.health.JITTER", 1.0)
    monkeypatch.setattr("random.uniform", lambda low, high: low)  # an age of 0 s
    counted, first = Counted(), pid_of_a_checkout()
    assert pid_of_a_checkout() != first
    assert (counted["recycled"], counted["invalidated"], counted["opened"]) == (1, 0, 2)


def test_the_last_one_returned_is_the_first_one_taken() -> None:
    with engine().connect() as one, engine().connect() as other:
        first, last = (each.execute(text("SELECT pg_backend_pid()")).scalar_one() for each in (one, other))
        other.close()
        one.close()
    assert [pid_of_a_checkout() for _ in range(3)] == [first] * 3
    assert last != first


def test_limits_and_a_name_that_says_who_it_is_are_set_on_every_connection() -> None:
    with read_session() as session:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout", "timezone", "application_name")
        shown = [session.execute(text(f"SHOW {name}")).scalar_one() for name in names]
    assert shown == ["10s", "5s", "15s", "UTC", f"headrace-test-{os.getpid()}"]


def test_a_read_session_refuses_to_write_and_its_connection_writes_again_afterwards() -> None:
    insert = text("INSERT INTO accounts (id, name, api_key_hash) VALUES (gen_random_uuid(), 'a', 'x')")
    use(ROLE._replace(size=1, overflow=0))
    for read in (lambda: fetch(lambda session: session.execute(insert)), read_and_write):
        with pytest.raises(InternalError, match="read-only transaction"):
            read()
    transact(lambda session: session.execute(insert))


def read_and_write() -> None:
    with read_session() as session:
        session.execute(text("CREATE TABLE x ()"))


def test_a_server_that_is_there_and_says_nothing_is_an_outage_in_time(
    clean: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing ends a statement then but ourselves: the server keeps no clock, and the kernel finds nothing wrong."""
    monkeypatch.setattr(connections, "SILENCE_SECONDS", 0.2)
    monkeypatch.setenv("HEADRACE_DATABASE_STATEMENT_MS", "100")
    with TcpProxy.running(clean.data_dir / "postgres" / ".s.PGSQL.5432") as proxy:
        at = clean.database_url.partition("@")[0] + f"@127.0.0.1:{proxy.port}/headrace"
        monkeypatch.setenv("HEADRACE_DATABASE_URL", at)
        settings.cache_clear()
        with read_session() as session:
            session.execute(text("SELECT 1"))
            proxy.stall()
            with pytest.raises(DBAPIError, match=r"the server was silent for 0\.3 s") as silent:
                session.execute(text("SELECT 2"))
        assert is_outage(silent.value)
        proxy.flow()
        assert pid_of_a_checkout() > 0
        monkeypatch.setattr("shared.db.health.IDLE_SECONDS_MAX", 0)
        monkeypatch.setattr("shared.db.health.ANSWER_SECONDS_MAX", 0.2)
        proxy.abandon()
        assert pid_of_a_checkout() > 0, "a connection that died silently while idle is replaced"


def test_a_forked_child_leaves_its_parents_connections_alone() -> None:
    mine = pid_of_a_checkout()
    child = os.fork()
    if child == 0:  # it must not leave this block: another test run would go on behind it
        try:
            drop_inherited_engine()
            os._exit(0 if pid_of_a_checkout() != mine else 1)
        finally:
            os._exit(2)
    assert os.waitpid(child, 0)[1] == 0
    assert pid_of_a_checkout() == mine


def test_an_instrument_sees_each_engine_before_its_first_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    seen = []
    monkeypatch.setattr("shared.db.engine.INSTRUMENTS", (lambda it: seen.append(it.pool.checkedin()),))
    pid_of_a_checkout()
    close_engine()
    pid_of_a_checkout()
    assert seen == [0, 0]


def test_threads_that_compete_leave_true_gauges_behind() -> None:
    def work() -> None:
        for _ in range(30):
            try:
                pid_of_a_checkout()
            except PoolTimeout:
                continue

    threads = [threading.Thread(target=work) for _ in range(6)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert open_connections("in_use") == 0
    assert 1 <= (open_connections("idle") or 0) <= ROLE.size
