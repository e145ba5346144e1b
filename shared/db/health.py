"""Is a pooled connection still good? Asked at each checkout, of the kernel first and of the server only when in doubt.

A server that ends a session says so: the socket of an idle connection becomes readable. Looking takes a microsecond, where
asking the server takes a round trip. Only a link that died without a word needs to be asked, and only when it was idle for
longer than the time in which somebody else would have used it. A connection that is too old is replaced here too, so that
it can be told apart from one that was lost.
"""

import random
import select
from collections.abc import Callable
from typing import Any

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.exc import DisconnectionError, InvalidatePoolError
from sqlalchemy.pool import ConnectionPoolEntry

from shared.clock import monotonic_seconds
from shared.db.connection import Deadlined

IDLE_SECONDS_MAX = 1.0
"""Idle for longer, a connection is asked: at most once a second, so its round trip costs nothing that is seen."""

ANSWER_SECONDS_MAX = 2.0
"""For the answer. A server that takes longer for an empty statement is not one to begin a transaction with."""

JITTER = 0.1
"""Part of the age by which two connections opened together differ, so that not all are replaced at once."""

KEY = "headrace.health"


class TooOld(DisconnectionError):
    """The connection is replaced because of its age; nothing was wrong with it."""


class Vitals:
    """What is known of one connection. Times are monotonic seconds."""

    def __init__(self, connection: Any, old_at: float) -> None:
        self.old_at = old_at
        self.used_at: float | None = None
        self._poll = select.poll()
        self._poll.register(connection.fileno(), select.POLLIN)

    def has_news(self) -> bool:
        """Whether the server said something while nobody asked: that it ends the session, as a rule."""
        return bool(self._poll.poll(0))


class Health:
    """Watches the connections of one engine.

    Args:
        recycle_seconds: the age at which a connection is replaced, give or take JITTER.
        report: gets ``asked`` and ``recycled``, for counting.
        now: monotonic seconds.
    """

    def __init__(
        self, recycle_seconds: float, report: Callable[[str], None], *, now: Callable[[], float] = monotonic_seconds
    ) -> None:
        self._recycle_seconds = recycle_seconds
        self._report = report
        self._now = now

    def watch(self, engine: Engine) -> None:
        """Look after the engine's pool from now on; before its first connection."""
        event.listen(engine, "connect", self._on_connect)
        event.listen(engine, "checkin", self._on_checkin)
        event.listen(engine, "checkout", self._on_checkout)

    def _on_connect(self, connection: Any, record: ConnectionPoolEntry) -> None:
        age = self._recycle_seconds * random.uniform(1 - JITTER, 1 + JITTER)  # noqa: S311 - not a secret
        record.info[KEY] = Vitals(connection, self._now() + age)

    def _on_checkin(self, connection: Any, record: ConnectionPoolEntry) -> None:
        if connection is not None and KEY in record.info:
            record.info[KEY].used_at = self._now()

    def _on_checkout(self, connection: Any, record: ConnectionPoolEntry, _fairy: Any) -> None:
        vitals: Vitals = record.info[KEY]
        if vitals.used_at is None:
            return
        now = self._now()
        if now >= vitals.old_at:
            self._report("recycled")
            raise TooOld("the connection has its age")
        if vitals.has_news() or now - vitals.used_at > IDLE_SECONDS_MAX:
            self._report("asked")
            if not answers(connection):
                raise InvalidatePoolError("the connection was lost while idle, and so were the others, as a rule")


def answers(connection: Deadlined) -> bool:
    """Whether the server answers an empty statement within ANSWER_SECONDS_MAX; the connection is closed when it does not."""
    patience, connection.patience_seconds = connection.patience_seconds, ANSWER_SECONDS_MAX
    try:
        connection.autocommit = True  # else the question would begin a transaction
        connection.execute(b"")
        connection.autocommit = False
    except psycopg.Error:
        connection.close()
        return False
    connection.patience_seconds = patience
    return True
