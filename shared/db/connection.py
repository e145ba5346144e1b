"""How a connection is opened: by which driver, with which deadlines, under which name, and what holds in each transaction.

Nothing waits for ever. The server ends a statement, a wait for a lock and an idle transaction; the kernel notices a server that
vanished; and a process that serves gives up on a server that is there and says nothing (`Deadlined`), because such a silence
would otherwise look like a handler that hangs, and be blamed on its messages.

Behind PgBouncer in transaction mode a session is anybody's: nothing may be set for its length, nor prepared in it. There the same
limits are set in each transaction, at the price of a round trip.
"""

import os
from collections.abc import Callable
from typing import Any, TypeVar

import psycopg
from psycopg.errors import OperationalError
from sqlalchemy import Connection, Engine, event
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import DBAPIError

from shared.db.role import Role
from shared.errors import ConfigurationError
from shared.settings import PREFIX, Settings

T = TypeVar("T")

APPLICATION_NAME = "headrace"

SILENCE_SECONDS = 5.0
"""Beyond a statement's own time-out, for the server's answer to arrive. Longer than a checkpoint stalls a commit here."""

KEEPALIVES = {
    "keepalives_idle": 10,  # seconds; while a long statement runs, the link is asked after so long
    "keepalives_interval": 5,
    "keepalives_count": 3,
    "tcp_user_timeout": 20_000,  # ms; for what was sent and is not acknowledged, where keepalives do not help
}
"""A host that vanished is noticed within 25 s. Without effect on a Unix socket, whose other end cannot vanish silently."""

READ_ONLY = {"postgresql_readonly": True}
"""Options of a connection whose transactions refuse to write: `BEGIN READ ONLY`, without a further round trip."""

INDEX_ONLY = {"enable_seqscan": "off", "enable_hashjoin": "off", "enable_mergejoin": "off"}
"""For a process whose every statement looks up a bounded number of keys: an index is right then, whatever the statistics say. A
plan made while a table was nearly empty scans it, and is kept while the table grows."""


class Deadlined(psycopg.Connection[Any]):
    """A connection that is closed when the server stays silent for longer than ``patience_seconds``; None: waits for ever."""

    patience_seconds: float | None = None

    def wait(self, gen: Any, interval: float = 0.1, timeout: float | None = None) -> Any:
        """As psycopg's; raises OperationalError when the patience is over."""
        if timeout is not None or self.patience_seconds is None:
            return super().wait(gen, interval, timeout)
        try:
            return super().wait(gen, interval, self.patience_seconds)
        except OperationalError as error:
            if type(error) is not psycopg.errors._WaitTimeout:  # psycopg asks callers to make it a public one
                raise
            self.pgconn.finish()  # what the server may still answer belongs to nobody
            raise OperationalError(f"the server was silent for {self.patience_seconds:g} s") from None


def address(url: str, name: str = "DATABASE_URL") -> URL:
    """SQLAlchemy's form of a ``postgresql://`` or ``postgres://`` URL. Raises ConfigurationError, which shows no password."""
    try:
        parsed = make_url(url)
    except Exception:  # noqa: BLE001 - its text may quote the password
        raise ConfigurationError(f"{PREFIX}{name} is no URL: write postgresql://user:password@host/name") from None
    if parsed.get_backend_name() not in ("postgresql", "postgres"):
        raise ConfigurationError(
            f"{PREFIX}{name} is of {parsed.get_backend_name()[:30]!r}: write postgresql://user:password@host/name"
        )
    return parsed.set(drivername="postgresql+psycopg")


def arguments(config: Settings, role: Role) -> dict[str, Any]:
    """What the driver is told on connecting.

    Args:
        role: what the process is; its name is shown by `pg_stat_activity` together with the pid.
    """
    common = {
        "connect_timeout": config.database_connect_seconds,
        "application_name": f"{APPLICATION_NAME}-{role.name}-{os.getpid()}",
        **KEEPALIVES,
    }
    if config.database_pgbouncer:
        return {**common, "prepare_threshold": None}
    return {**common, "options": " ".join(f"-c {name}={value}" for name, value in _parameters(config, role).items())}


def patience_seconds(config: Settings) -> float:
    """How long a process that serves waits for any one answer of the server."""
    return config.database_statement_ms / 1000 + SILENCE_SECONDS


def connecting(patience: float | None) -> Callable[..., Deadlined]:
    """What opens a connection, for SQLAlchemy's ``do_connect``."""

    def connect(_dialect: Any, _record: Any, positional: list[Any], named: dict[str, Any]) -> Deadlined:
        connection = Deadlined.connect(*positional, **named)
        connection.patience_seconds = patience
        return connection

    return connect


def limit_each_transaction(engine: Engine, config: Settings, role: Role) -> None:
    """Set the parameters at the begin of every transaction of ``engine``: the way for PgBouncer."""
    parameters = _parameters(config, role)
    local = "SELECT " + ", ".join(["set_config(%s, %s, true)"] * len(parameters))
    values = [part for parameter in parameters.items() for part in parameter]

    def on_begin(connection: Connection) -> None:
        driver: Any = connection.connection.driver_connection  # directly: nobody who counts statements means this one
        try:
            driver.execute(local, values)
        except psycopg.Error as error:
            raise _as_of_a_statement(connection, error) from error

    event.listen(engine, "begin", on_begin)


def _as_of_a_statement(connection: Connection, error: psycopg.Error) -> DBAPIError:
    """What SQLAlchemy would make of it: callers tell a lost connection by that, and the pool must not keep one."""
    dialect: Any = connection.dialect
    lost = dialect.is_disconnect(error, connection.connection.dbapi_connection, None)
    if lost:
        connection.invalidate(error)
    it = DBAPIError.instance(None, None, error, psycopg.Error, hide_parameters=True, connection_invalidated=lost)
    assert isinstance(it, DBAPIError)
    return it


def _parameters(config: Settings, role: Role) -> dict[str, str]:
    """Of the server's, by name."""
    return {
        "statement_timeout": str(config.database_statement_ms),
        "lock_timeout": str(config.database_lock_ms),
        "idle_in_transaction_session_timeout": str(config.database_idle_transaction_ms),
        "timezone": "UTC",
        **(INDEX_ONLY if role.index_only else {}),
    }
