"""Slow statements: counted by name, logged with their plan, and never with a value."""

from collections.abc import Iterator
from typing import Any

import pytest
from sqlalchemy import Executable, text
from sqlalchemy.exc import DBAPIError
from structlog.testing import capture_logs

from shared.db import slow_queries
from shared.db.engine import close_engine, engine
from shared.db.explain import generic_plan
from shared.db.queries import tagged
from shared.db.session import read_session
from shared.db.slow_queries import PLANS_A_MINUTE, Rate
from shared.metrics import SLOW_QUERIES
from shared.settings import settings

SLOW = tagged(
    "tests.slow",
    text("SELECT pg_sleep(0.05), (SELECT count(*) FROM accounts WHERE name = :name) WHERE 'a secret' <> :name"),
)


@pytest.fixture(autouse=True)
def every_slow_one(clean: object, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.setattr(slow_queries, "_rate", Rate(PLANS_A_MINUTE))
    monkeypatch.setenv("HEADRACE_DATABASE_SLOW_MS", "40")
    settings.cache_clear()
    close_engine()
    yield
    close_engine()
    monkeypatch.undo()
    settings.cache_clear()


def logged(statement: Executable) -> list[Any]:
    """What is logged of a run of ``statement``."""
    with capture_logs() as logs, read_session() as session:
        session.execute(statement, {"name": "text of a message"})
        session.close()  # the connection goes back, and its plan is asked for
    return [line for line in logs if line["event"] == "slow statement"]


def test_a_slow_statement_is_counted_and_logged_with_its_plan_and_without_any_value() -> None:
    before = SLOW_QUERIES.labels("tests.slow")._value.get()
    (line,) = logged(SLOW)
    assert SLOW_QUERIES.labels("tests.slow")._value.get() == before + 1
    assert line["query"] == "tests.slow"
    assert line["seconds"] >= 0.04
    assert "accounts" in line["plan"]
    assert "$1" in line["plan"]
    assert "secret" not in str(line)
    assert "text of a message" not in str(line)


def test_the_same_statement_is_explained_once_a_minute_and_counted_each_time() -> None:
    before = SLOW_QUERIES.labels("tests.slow")._value.get()
    assert [len(logged(SLOW)) for _ in range(3)] == [1, 0, 0]
    assert SLOW_QUERIES.labels("tests.slow")._value.get() == before + 3


def cancelled() -> None:
    """Run a statement into its time-out."""
    with read_session() as session:
        session.execute(text("SET LOCAL statement_timeout = 45"))
        with pytest.raises(DBAPIError):
            session.execute(tagged("tests.slow", text("SELECT pg_sleep(10)")))


def test_a_statement_that_was_cancelled_is_a_slow_one_and_its_connection_goes_on() -> None:
    before = SLOW_QUERIES.labels("tests.slow")._value.get()
    with capture_logs() as logs:
        cancelled()
    assert SLOW_QUERIES.labels("tests.slow")._value.get() == before + 1
    assert [line["query"] for line in logs if line["event"] == "slow statement"] == ["tests.slow"]
    with read_session() as session:
        assert session.execute(text("SELECT 1")).scalar_one() == 1


def test_what_cannot_be_explained_does_no_harm() -> None:
    (line,) = logged(text("DO $$ BEGIN PERFORM pg_sleep(0.05); END $$"))
    assert line["plan"].startswith("no plan")


def test_the_plan_before_postgresql_16_is_the_same() -> None:
    sql = "SELECT id FROM messages WHERE account_id = %(account)s::uuid AND message_id = %(message)s"
    with engine().connect() as connection:
        server = connection.connection.driver_connection
        assert server is not None
        new = generic_plan(server, sql)
        assert generic_plan(server, sql, version=150_000) == new
        assert generic_plan(server, "SELECT count(*) FROM accounts", version=150_000)
