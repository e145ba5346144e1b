"""Is the message to blame, or a dependency? An outage is waited for; only a message's own fault counts against it."""

import psycopg
import redis
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db.fault import is_driver_loss
from shared.errors import BrokerUnavailable, ConfigurationError, Raced

# SQLSTATE classes a message's content can cause: 22 data exception, 23 integrity violation. Every other class (08 connection,
# 40 rollback, 42 missing table, 53 disk or memory, 55 lock, 57 shutdown or time-out, 58 I/O, ...) is the server's.
FAULTS_OF_DATA = ("22", "23")

# Of class 42 only what no grant and no migration can mend, because the server refused the statement before it looked at a table:
# then a handler's code is wrong, a bug like any other exception. All else of the class may come right with the next migration.
SYNTAX_ERROR = "42601"
PARSER = "scanner_yyerror"
"""The function of the server that reports bad grammar; `INSERT has more expressions than target columns` is a 42601 too."""
UNDEFINED_PARAMETER, UNTYPED_PARAMETER = "42P02", "42P18"

QUERY_CANCELED = "57014"

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
        # Without a SQLSTATE it is the driver's: a lost connection, or a value it cannot send.
        if error.sqlstate is None:
            return is_driver_loss(error)
        return not error.sqlstate.startswith(FAULTS_OF_DATA) and not _is_bug(error)
    return isinstance(error, OUTAGES)


def is_the_servers(error: BaseException) -> bool:
    """Whether another server might answer what this one could not: not a statement that took too long, which would there too."""
    cause = getattr(error, "orig", None) or error
    return is_outage(error) and getattr(cause, "sqlstate", None) != QUERY_CANCELED


def _is_bug(error: psycopg.Error) -> bool:
    if error.sqlstate == SYNTAX_ERROR:
        return error.diag.source_function == PARSER
    return error.sqlstate in (UNDEFINED_PARAMETER, UNTYPED_PARAMETER)
