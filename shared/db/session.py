"""Two session types, so that a function's signature shows whether it may write, and the one place that commits.

A read may be answered by a replica, which is behind the primary by up to HEADRACE_REPLICA_LAG_MS_MAX. Whoever must see what was
just written says so: ``fresh=True``.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.orm import Session

from shared.clock import monotonic_seconds
from shared.db import fault, query_guard
from shared.db.connection import READ_ONLY
from shared.db.engine import engine, replica
from shared.db.outage import is_the_servers
from shared.db.replica import Replica
from shared.errors import Raced as Raced  # noqa: PLC0414 - beside the sessions that raise it
from shared.metrics import DB_READS, DB_RERUNS
from shared.retry import jittered
from shared.tracing import span

T = TypeVar("T")


class ReadSession(Session):
    """Reads only; may be served by a replica. The primary refuses a write in it too: what a replica would refuse must not work
    until the day there is one."""


class WriteSession(Session):
    """One transaction, committed by whoever opened it."""


@contextmanager
def read_session(*, fresh: bool = False) -> Iterator[ReadSession]:
    """A session that never commits; a write in it is an error.

    Args:
        fresh: this read must see every write that has returned: it goes to the primary.

    A replica that is away is noticed before the block begins. One that fails within it fails the block; `fetch` runs it again.
    """
    source = _replica_for(fresh)
    if source is not None:
        try:
            connection = source.engine.connect()
        except (DBAPIError, PoolTimeout) as error:
            _let_down(source, error)
        else:
            DB_READS.labels("replica", "close").inc()
            with connection, ReadSession(connection, autoflush=False, expire_on_commit=False) as session:
                yield session
            return
    with _reading(engine()) as session:
        yield session


def fetch(query: Callable[[ReadSession], T], *, fresh: bool = False) -> T:
    """What ``query`` returns; asked again of the primary when a replica fails in the middle.

    Args:
        query: must be repeatable from the start.
        fresh: as `read_session`'s.
    """
    source = _replica_for(fresh)
    if source is not None:
        try:
            with _reading(source.engine) as session:
                answer = query(session)
            DB_READS.labels("replica", "close").inc()
            return answer
        except (DBAPIError, PoolTimeout) as error:
            if not is_the_servers(error):
                raise
            _let_down(source, error)
    with _reading(engine()) as session:
        return query(session)


@contextmanager
def write_session() -> Iterator[WriteSession]:
    """A transaction: committed when the block ends, rolled back when it raises."""
    with WriteSession(engine(), autoflush=False, expire_on_commit=False) as session, span("transaction"), session.begin():
        yield session


def transact(work: Callable[[WriteSession], T], *, idempotent: bool = False) -> T:
    """Run ``work`` in a transaction and commit it; run it again when a concurrent one got in its way or the connection broke.

    Args:
        work: must be repeatable from the start as long as it was not committed; gets a fresh session each time.
        idempotent: it may also be repeated after it was committed. Then it runs again when the connection broke during the commit
            too, of which nobody knows whether it was done.

    Raises the last error when `fault.RUNS_MAX` runs or `fault.SECONDS_MAX` did not suffice.
    """
    started, runs = monotonic_seconds(), 0
    while True:
        runs += 1
        committing = False
        try:
            with WriteSession(engine(), autoflush=False, expire_on_commit=False) as session, span("transaction"):
                result = work(session)
                committing = True
                session.commit()
            return result
        except (Raced, DBAPIError) as error:
            cause = fault.cause_of(error)
            if cause is None or (cause == fault.LOST and committing and not idempotent):
                raise
            pause = fault.pause_seconds(cause, runs, monotonic_seconds() - started)
            if pause is None:
                raise
        query_guard.forget()
        DB_RERUNS.labels(cause).inc()
        time.sleep(jittered(pause))


@contextmanager
def _reading(source: Engine) -> Iterator[ReadSession]:
    with (
        source.connect().execution_options(**READ_ONLY) as connection,
        ReadSession(connection, autoflush=False, expire_on_commit=False) as session,
    ):
        yield session


def _replica_for(fresh: bool) -> Replica | None:
    """The replica that may serve this read; else it is counted as the primary's."""
    it = replica()
    if it is None:
        return None
    if reason := "fresh" if fresh else it.refusal():
        DB_READS.labels("primary", reason).inc()
        return None
    return it


def _let_down(source: Replica, error: Exception) -> None:
    DB_READS.labels("primary", "failed").inc()
    if isinstance(error, PoolTimeout):
        return  # it is busy with our own reads
    if fault.cause_of(error) == fault.LOST:
        source.failed(error)
