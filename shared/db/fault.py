"""What a failed transaction failed of, and whether the same work may run again."""

from collections.abc import Mapping
from types import MappingProxyType

import psycopg
from psycopg import errors
from sqlalchemy.exc import DBAPIError

from shared.errors import Raced
from shared.retry import backoff_seconds

RACED, DEADLOCK, SERIALIZATION, LOST = "raced", "deadlock", "serialization", "lost connection"

RUNS_MAX: Mapping[str, int] = MappingProxyType({RACED: 10, DEADLOCK: 10, SERIALIZATION: 10, LOST: 3})
"""Runs of one transaction in all. Of a race each rerun sees what won; a lost server is the caller's to wait for."""

SECONDS_MAX = 5.0
"""No rerun begins later than this after the first run began; far below a batch's own limit."""

FIRST_SECONDS, MOST_SECONDS = 0.005, 0.5
"""Bounds of the pause, before jitter: a batch takes some 20 ms."""

# The server ended the session, or the driver lost it. 57P03 is refused at the door: it starts, stops, or has no room.
_LOST = (errors.AdminShutdown, errors.CrashShutdown, errors.CannotConnectNow, errors.IdleInTransactionSessionTimeout)


def cause_of(error: BaseException) -> str | None:
    """RACED, DEADLOCK, SERIALIZATION or LOST; None when a rerun would fail in the same way."""
    if isinstance(error, DBAPIError):
        if error.connection_invalidated:
            return LOST
        error = error.orig or error
    match error:
        # A row vanished or appeared under the transaction: the rerun finds it gone, or there.
        case Raced() | errors.ForeignKeyViolation() | errors.UniqueViolation():
            return RACED
        case errors.DeadlockDetected():
            return DEADLOCK
        case errors.SerializationFailure():
            return SERIALIZATION
    if isinstance(error, _LOST) or is_driver_loss(error) or (getattr(error, "sqlstate", None) or "").startswith("08"):
        return LOST
    return None


def is_driver_loss(error: BaseException) -> bool:
    """A connection that was refused or lost, by the driver's word: the server had no say, so there is no SQLSTATE.

    InternalError is an answer out of turn: PgBouncer's, when the server ended a session that was idle in a transaction.
    """
    return isinstance(error, psycopg.OperationalError | psycopg.InternalError) and error.sqlstate is None


def pause_seconds(cause: str, runs: int, elapsed_seconds: float) -> float | None:
    """How long to wait, before jitter, after so many ``runs`` of the work; None: give up."""
    if runs >= RUNS_MAX[cause] or elapsed_seconds >= SECONDS_MAX:
        return None
    return backoff_seconds(runs, first=FIRST_SECONDS if cause != LOST else 10 * FIRST_SECONDS, most=MOST_SECONDS)
