"""Two session types, so that a function's signature shows whether it may write, and the one place that commits."""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

import psycopg.errors
from sqlalchemy.exc import DBAPIError
from sqlalchemy.orm import Session

from shared.db import query_guard
from shared.db.engine import engine
from shared.errors import HeadraceError

T = TypeVar("T")

ATTEMPTS_MAX = 10
"""Runs of one transaction: a rerun happens when a concurrent one took a row first, and each rerun sees that row."""


class ReadSession(Session):
    """Reads only; may be served by a replica."""


class WriteSession(Session):
    """One transaction, committed by whoever opened it."""


class Raced(HeadraceError):
    """A concurrent transaction changed what this one counted on. Nothing is written; the same work run again will see it."""


@contextmanager
def read_session() -> Iterator[ReadSession]:
    """A session that never commits."""
    with ReadSession(engine(), autoflush=False, expire_on_commit=False) as session:
        yield session


@contextmanager
def write_session() -> Iterator[WriteSession]:
    """A transaction: committed when the block ends, rolled back when it raises."""
    with WriteSession(engine(), autoflush=False, expire_on_commit=False) as session, session.begin():
        yield session


def transact(work: Callable[[WriteSession], T]) -> T:
    """Run ``work`` in a transaction and commit it; run it again when a concurrent transaction got in its way.

    Args:
        work: must be repeatable from the start; gets a fresh session each time.

    Raises the last error when ATTEMPTS_MAX runs did not suffice.
    """
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            with write_session() as session:
                return work(session)
        except (Raced, DBAPIError) as error:
            if attempt == ATTEMPTS_MAX or not _worth_rerunning(error):
                raise
            query_guard.forget()
    raise AssertionError("unreachable: the last attempt returns or raises")


def _worth_rerunning(error: Exception) -> bool:
    cause = error.orig if isinstance(error, DBAPIError) else error
    return isinstance(
        cause,
        Raced
        | psycopg.errors.DeadlockDetected
        | psycopg.errors.SerializationFailure
        | psycopg.errors.ForeignKeyViolation  # an account or contact vanished under the batch: the rerun finds it gone
        | psycopg.errors.UniqueViolation,
    )
