"""The process's engine: made on first use, after any fork, one per process.

A forked child must never share its parent's connections: `drop_inherited_engine` forgets them without closing the sockets.
"""

import os

from sqlalchemy import Engine, create_engine

from shared.db import queries, query_guard, slow_queries
from shared.settings import settings

APPLICATION_NAME = "headrace"

INSTRUMENTS = (queries.instrument, query_guard.instrument, slow_queries.instrument)
"""What watches the engine's statements, in the order in which each sees them."""

_engine: Engine | None = None
_pool_size = 2


def engine() -> Engine:
    """The engine of this process."""
    global _engine  # noqa: PLW0603 - one engine a process is the point
    if _engine is None:
        _engine = _create(_pool_size)
    return _engine


def use_pool_of(connections: int) -> None:
    """How many connections this process may hold, 1 to 100; call before the first `engine()`."""
    global _pool_size  # noqa: PLW0603
    _pool_size = connections


def drop_inherited_engine() -> None:
    """In a fresh child: forget the parent's engine; closing its sockets would end the parent's sessions."""
    global _engine  # noqa: PLW0603
    if _engine is not None:
        _engine.dispose(close=False)
        _engine = None


def close_engine() -> None:
    """Close every connection; the next `engine()` makes a new one."""
    global _engine  # noqa: PLW0603
    if _engine is not None:
        _engine.dispose()
        _engine = None


def _create(pool_size: int) -> Engine:
    config = settings()
    made = create_engine(
        config.required("database_url"),
        pool_size=pool_size,
        hide_parameters=True,  # an error's text would quote messages
        max_overflow=0,  # the bound that `headrace check` adds up is a bound
        pool_timeout=config.database_connect_seconds,
        pool_pre_ping=True,  # one round trip a checkout; a connection that died while idle is replaced, not handed out
        connect_args={
            "connect_timeout": config.database_connect_seconds,
            "application_name": f"{APPLICATION_NAME}-{os.getpid()}",
            "keepalives_idle": 10,  # seconds; a server that vanished is noticed within about 30
            "keepalives_interval": 5,
            "keepalives_count": 4,
            "options": f"-c statement_timeout={config.database_statement_ms} -c lock_timeout={config.database_lock_ms}"
            " -c idle_in_transaction_session_timeout=60000 -c timezone=UTC",
        },
    )
    for instrument in INSTRUMENTS:
        instrument(made)
    return made
