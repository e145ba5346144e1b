"""Who is to blame for an error: the message, or a dependency."""

import psycopg
import pytest
import redis
from sqlalchemy.exc import DBAPIError

from shared.db.outage import is_outage, is_the_servers


def test_a_dependency_that_is_away_is_nobodys_fault() -> None:
    assert is_outage(redis.ConnectionError())
    assert is_outage(psycopg.errors.DiskFull())
    assert is_outage(TimeoutError())


def test_a_message_that_eats_all_memory_is_halved_away_and_holds_its_slot_for_no_longer() -> None:
    assert not is_outage(MemoryError())


def test_what_a_migration_or_a_grant_can_mend_is_waited_for() -> None:
    for error in (psycopg.errors.UndefinedTable, psycopg.errors.UndefinedColumn, psycopg.errors.InsufficientPrivilege):
        assert is_outage(DBAPIError("SELECT", {}, error()))


@pytest.mark.parametrize("error", [psycopg.errors.UndefinedParameter(), psycopg.errors.IndeterminateDatatype()])
def test_a_statement_that_no_schema_can_mend_is_a_bug_of_the_handler(error: psycopg.Error) -> None:
    assert not is_outage(DBAPIError("SELECT", {}, error))


def test_another_server_is_not_asked_what_took_too_long_on_the_first() -> None:
    assert is_the_servers(DBAPIError("SELECT", {}, psycopg.errors.SerializationFailure()))
    assert not is_the_servers(DBAPIError("SELECT", {}, psycopg.errors.QueryCanceled()))
    assert not is_the_servers(DBAPIError("SELECT", {}, psycopg.errors.DivisionByZero()))
