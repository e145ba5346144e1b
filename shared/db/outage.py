"""Is the message to blame, or a dependency? An outage is waited for; only a message's own fault counts against it."""

import psycopg
import redis
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db.session import Raced
from shared.errors import BrokerUnavailable, ConfigurationError

# SQLSTATE classes a message's content can cause: 22 data exception, 23 integrity violation. Every other class (08 connection,
# 40 rollback, 42 missing table, 53 disk or memory, 55 lock, 57 shutdown or time-out, 58 I/O, ...) is the server's.
FAULTS_OF_DATA = ("22", "23")

OUTAGES = (
    PoolTimeout,
    Raced,
    redis.RedisError,
    BrokerUnavailable,
    ConfigurationError,
    ConnectionError,
    TimeoutError,
)
# Not MemoryError: one message can eat all that a child may have, and would hold its slot for ever. Halved, the batch needs less.


def is_outage(error: BaseException) -> bool:
    """True when ``error`` says nothing about the message that was being handled."""
    if isinstance(error, DBAPIError) and error.orig is not None:
        return is_outage(error.orig)
    if isinstance(error, psycopg.Error):
        # Without a SQLSTATE it is the driver's: a lost connection is an OperationalError, all else a value it cannot send.
        if error.sqlstate is None:
            return isinstance(error, psycopg.OperationalError)
        return not error.sqlstate.startswith(FAULTS_OF_DATA)
    return isinstance(error, OUTAGES)
