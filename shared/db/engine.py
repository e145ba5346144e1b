"""The process's engines: made on first use, after any fork, one per process and server.

A forked child must never share its parent's connections: `drop_inherited_engine` forgets them without closing the sockets.
What wants to see every engine's statements stands in INSTRUMENTS.
"""

import os
import threading
from collections.abc import Callable

from sqlalchemy import Engine, create_engine, event

from shared.db import connection, queries, query_guard, slow_queries
from shared.db.health import Health
from shared.db.pool import MeasuredPool, Meter
from shared.db.replica import Replica
from shared.db.role import TOOL, Role
from shared.settings import Settings, settings

REPLICA_CONNECT_SECONDS_MAX = 2
"""Who waits for a replica could be reading from the primary. libpq knows no shorter time."""

INSTRUMENTS = (queries.instrument, query_guard.instrument, slow_queries.instrument)
"""What watches the engine's statements, in the order in which each sees them."""

_role = TOOL
_engine: Engine | None = None
_replica: Replica | None = None
_made_by = 0
"""The pid that made them."""
_making = threading.RLock()
"""An ingress asks first on several threads at once, and two engines would be two pools."""


def engine() -> Engine:
    """The primary's engine of this process."""
    global _engine, _made_by
    with _making:
        if _engine is None:
            _engine, _made_by = create(settings(), "primary"), os.getpid()
        return _engine


def replica() -> Replica | None:
    """The replica that this process reads from; None when there is none, or the process is a tool."""
    global _replica  # noqa: PLW0603
    config = settings()
    if not _role.serves or not config.replica_url:
        return None
    with _making:
        if _replica is None:
            _replica = Replica(engine(), create(config, "replica"), lag_seconds_max=config.replica_lag_ms_max / 1000)
        return _replica


def use(role: Role) -> None:
    """What this process is; call before the first `engine()`."""
    global _role  # noqa: PLW0603
    _role = role


def use_pool_of(connections: int) -> None:
    """A tool's pool of another size, 1 to 100; call before the first `engine()`."""
    use(TOOL._replace(size=connections))


def drop_inherited_engine() -> None:
    """In a fresh child: forget the parent's engines; closing their sockets would end the parent's sessions."""
    global _making  # noqa: PLW0603 - one of the parent's threads may have held it at the fork
    _making = threading.RLock()
    _forget(close=False)


def close_engine() -> None:
    """Close every connection; the next `engine()` makes a new one."""
    _forget(close=_made_by == os.getpid())


def _forget(*, close: bool) -> None:
    global _engine, _replica  # noqa: PLW0603
    made = [each for each in (_engine, _replica.engine if _replica else None) if each is not None]
    _engine = _replica = None
    for each in made:
        each.dispose(close=close)
        if close and isinstance(each.pool, MeasuredPool) and each.pool.meter:
            each.pool.meter.forget()


def create(config: Settings, server: str) -> Engine:
    """An engine for this process's role, as yet without a connection; the caller disposes of it.

    Args:
        server: ``primary`` or ``replica``.
    """
    url = config.required("database_url") if server == "primary" else config.replica_url
    arguments = connection.arguments(config, _role)
    if server == "replica":
        arguments["connect_timeout"] = min(config.database_connect_seconds, REPLICA_CONNECT_SECONDS_MAX)
    made = create_engine(
        connection.address(url, "DATABASE_URL" if server == "primary" else "REPLICA_URL"),
        poolclass=MeasuredPool,
        pool_size=_role.size,
        max_overflow=_role.overflow,
        pool_timeout=config.database_wait_seconds,
        pool_use_lifo=True,
        execution_options=connection.READ_ONLY if server == "replica" else {},
        hide_parameters=True,  # an error's text would quote messages
        use_native_hstore=False,  # a look-up less at the first connection
        connect_args=arguments,
    )
    event.listen(made, "do_connect", connection.connecting(connection.patience_seconds(config) if _role.serves else None))
    report: Callable[[str], None] = lambda _event: None  # noqa: E731 - typed so
    if _role.serves:
        meter = Meter(server)
        meter.measure(made)
        report = meter.count
    Health(config.database_recycle_seconds, report).watch(made)
    if config.database_pgbouncer:
        connection.limit_each_transaction(made, config, _role)
    for hook in INSTRUMENTS:
        hook(made)
    return made
