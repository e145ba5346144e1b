"""The pool of one engine: last in, first out, bounded, and measured.

LIFO keeps the fewest connections warm: those that a quiet hour does not need lie at the bottom. The bound is the pool's size and
its overflow together, and `headrace check` adds it up over all processes.
"""

import threading
from typing import Any

from sqlalchemy import Engine, event
from sqlalchemy.exc import TimeoutError as PoolTimeout
from sqlalchemy.pool import ConnectionPoolEntry, PoolProxiedConnection, QueuePool

from shared.clock import monotonic_seconds
from shared.db.health import TooOld
from shared.metrics import DB_POOL_CONNECTIONS, DB_POOL_EVENTS, DB_POOL_WAIT_SECONDS

EVENTS = ("opened", "closed", "checked_out", "overflowed", "timed_out", "invalidated", "recycled", "asked")


class MeasuredPool(QueuePool):
    """A QueuePool that tells a meter how long each checkout took and how many connections there are."""

    meter: "Meter | None" = None

    def connect(self) -> PoolProxiedConnection:
        """A connection, waited for up to the pool's time-out, healthy. Raises PoolTimeout."""
        if self.meter is None:
            return super().connect()
        started = monotonic_seconds()
        try:
            connection = super().connect()
        except PoolTimeout:
            self.meter.count("timed_out")
            raise
        finally:
            self.meter.waited(monotonic_seconds() - started)
        self.meter.count("checked_out")
        self.meter.show(self)
        return connection

    def recreate(self) -> QueuePool:
        """A fresh pool like this one."""
        fresh = super().recreate()
        assert isinstance(fresh, MeasuredPool)
        fresh.meter = self.meter
        return fresh

    def _do_return_conn(self, record: ConnectionPoolEntry) -> None:
        super()._do_return_conn(record)
        if self.meter is not None:
            self.meter.show(self)


class Meter:
    """The metrics of one engine's pool.

    Args:
        server: ``primary`` or ``replica``.
    """

    def __init__(self, server: str) -> None:
        self._lock = threading.Lock()
        self._open = 0
        self._in_use = DB_POOL_CONNECTIONS.labels(server, "in_use")
        self._idle = DB_POOL_CONNECTIONS.labels(server, "idle")
        self._wait = DB_POOL_WAIT_SECONDS.labels(server)
        self._events = {name: DB_POOL_EVENTS.labels(server, name) for name in EVENTS}

    def measure(self, engine: Engine) -> None:
        """Measure the engine's pool from now on; before its first connection."""
        assert isinstance(engine.pool, MeasuredPool)
        pool = engine.pool
        pool.meter = self

        def on_connect(_connection: Any, _record: ConnectionPoolEntry) -> None:
            self._opened(overflowed=pool.overflow() > 0)

        event.listen(engine, "connect", on_connect)
        event.listen(engine, "close", self._on_close)
        event.listen(engine, "invalidate", self._on_invalidate)
        event.listen(engine, "soft_invalidate", self._on_invalidate)
        self.show(pool)

    def count(self, name: str) -> None:
        """One of EVENTS happened."""
        self._events[name].inc()

    def waited(self, seconds: float) -> None:
        """A checkout took so long: waiting for a free connection, the look at its health, opening one."""
        self._wait.observe(seconds)

    def show(self, pool: QueuePool) -> None:
        """Set the gauges to what is true now."""
        with self._lock:  # whoever comes last has seen the last change
            in_use = pool.checkedout()
            self._in_use.set(in_use)
            self._idle.set(max(0, self._open - in_use))

    def forget(self) -> None:
        """The pool is gone."""
        with self._lock:
            self._open = 0
            self._in_use.set(0)
            self._idle.set(0)

    def _opened(self, *, overflowed: bool) -> None:
        with self._lock:
            self._open += 1
        self.count("opened")
        if overflowed:
            self.count("overflowed")

    def _on_close(self, _connection: Any, _record: ConnectionPoolEntry) -> None:
        with self._lock:
            self._open -= 1
        self.count("closed")

    def _on_invalidate(self, _connection: Any, _record: ConnectionPoolEntry, error: BaseException | None) -> None:
        if not isinstance(error, TooOld):
            self.count("invalidated")
