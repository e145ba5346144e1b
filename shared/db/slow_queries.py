"""Statements slower than `database_slow_ms`: each counted, a few logged with their plan and without any value.

The plan is asked for when the connection goes back to its pool. By then the transaction is over: asking inside it could break
it, and another connection would be one that nobody has counted. It is the plan for any values (`explain.generic_plan`), and
asking costs a few milliseconds, at most PLANS_A_MINUTE times a minute and once a minute for the same statement.
"""

import contextlib
from collections import deque
from typing import Any

import psycopg
from sqlalchemy import Engine, event
from sqlalchemy.engine import ExceptionContext

from shared.clock import monotonic_seconds
from shared.db.explain import generic_plan
from shared.db.queries import name_of, seconds_of
from shared.db.query_guard import shape_of
from shared.log import get_logger
from shared.metrics import SLOW_QUERIES
from shared.settings import settings

PLANS_A_MINUTE = 6
"""Of one process: ten seconds of a slow database must not become a second load on it."""

PLAN_LINES_MAX = 60
SQL_LENGTH_MAX = 1_000
WAITING = "headrace_slow"
"""Where a connection remembers the statement whose plan to ask for."""

logger = get_logger(__name__)


class Rate:
    """At most ``most`` a minute, and each key once a minute."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._passed: deque[tuple[float, str]] = deque(maxlen=most)

    def passes(self, key: str, now: float) -> bool:
        """Whether this one may go; ``now`` in monotonic seconds."""
        while self._passed and now - self._passed[0][0] >= 60:
            self._passed.popleft()
        if len(self._passed) >= self._most or any(key == before for _, before in self._passed):
            return False
        self._passed.append((now, key))
        return True


_rate = Rate(PLANS_A_MINUTE)


def instrument(engine: Engine) -> None:
    """Watch the statements of ``engine``; after `queries.instrument`, which times them."""
    event.listen(engine, "after_cursor_execute", _after)
    event.listen(engine, "handle_error", _after_error)
    event.listen(engine.pool, "checkin", _explain)


def _after(connection: Any, _k: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
    seconds = seconds_of(context)
    if seconds * 1000 < settings().database_slow_ms:
        return
    name = name_of(context)
    SLOW_QUERIES.labels(name).inc()
    if _rate.passes(shape_of(statement), monotonic_seconds()):
        connection.connection.info[WAITING] = (name, statement, seconds)


def _after_error(error: ExceptionContext) -> None:
    """One that was cancelled, at `database_statement_ms` say, is as slow as any."""
    context = error.execution_context
    if context is not None and error.connection is not None and not error.connection.invalidated and error.statement:
        with contextlib.suppress(Exception):  # the statement's own error is the one to raise
            _after(error.connection, None, error.statement, None, context, False)


def _explain(connection: psycopg.Connection[Any] | None, record: Any) -> None:
    waiting = record.info.pop(WAITING, None) if connection is not None else None
    if connection is None or waiting is None:
        return
    name, statement, seconds = waiting
    try:
        connection.execute("SET LOCAL statement_timeout = 1000; SET LOCAL lock_timeout = 100")
        plan = generic_plan(connection, statement)[:PLAN_LINES_MAX]
    except psycopg.Error as error:
        plan = [f"no plan: {type(error).__name__}"]
    try:
        connection.rollback()
    except psycopg.Error:
        record.invalidate()
    sql = shape_of(statement)[:SQL_LENGTH_MAX]
    logger.warning("slow statement", query=name, seconds=round(seconds, 3), sql=sql, plan="\n".join(plan))
