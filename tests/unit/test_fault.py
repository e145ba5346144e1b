"""What a transaction failed of, and how often it may run again."""

import psycopg
import pytest
from psycopg import errors
from sqlalchemy.exc import DBAPIError

from shared.db import fault
from shared.errors import HeadraceError, Raced


def wrapped(error: Exception, *, invalidated: bool = False) -> DBAPIError:
    return DBAPIError("SELECT", {}, error, connection_invalidated=invalidated)


@pytest.mark.parametrize(
    ("error", "cause"),
    [
        (Raced(), fault.RACED),
        (wrapped(errors.UniqueViolation()), fault.RACED),
        (wrapped(errors.DeadlockDetected()), fault.DEADLOCK),
        (wrapped(errors.SerializationFailure()), fault.SERIALIZATION),
        (wrapped(errors.AdminShutdown()), fault.LOST),
        (wrapped(errors.CannotConnectNow()), fault.LOST),
        (wrapped(psycopg.OperationalError("connection refused")), fault.LOST),
        (wrapped(errors.ConnectionFailure()), fault.LOST),
        (wrapped(psycopg.InternalError("received 2 results")), fault.LOST),
        (wrapped(psycopg.OperationalError("broke"), invalidated=True), fault.LOST),
        (wrapped(errors.QueryCanceled()), None),
        (wrapped(errors.LockNotAvailable()), None),
        (wrapped(errors.DiskFull()), None),
        (wrapped(errors.NotNullViolation()), None),
        (wrapped(psycopg.DataError("a value that cannot be sent")), None),
        (HeadraceError(), None),
        (ValueError(), None),
    ],
)
def test_only_what_a_rerun_can_cure_is_run_again(error: Exception, cause: str | None) -> None:
    assert fault.cause_of(error) == cause


@pytest.mark.parametrize("cause", list(fault.RUNS_MAX))
def test_reruns_are_bounded_in_number_in_time_and_in_their_pauses(cause: str) -> None:
    pauses = []
    while (pause := fault.pause_seconds(cause, len(pauses) + 1, 0.0)) is not None:
        pauses.append(pause)
    assert len(pauses) == fault.RUNS_MAX[cause] - 1
    assert pauses == sorted(pauses)
    assert max(pauses) <= fault.MOST_SECONDS
    assert fault.pause_seconds(cause, 1, fault.SECONDS_MAX) is None
