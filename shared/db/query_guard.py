"""The guard against N+1: how many statements a batch runs, and which SQL it runs again and again.

A batch takes a constant number of statements whatever its size. One that runs the same SQL more than REPEATS_MAX times most
likely asks for each message what it should ask once for all. In production that is a metric and, once a minute and statement, a
line in the log; in a test run it is written to `repeated_queries_file`, and the suite fails by that.
"""

import re
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from functools import lru_cache
from pathlib import Path
from typing import Any

import orjson
from sqlalchemy import Engine, event

from shared.clock import monotonic_seconds
from shared.log import get_logger
from shared.metrics import BATCH_STATEMENTS, REPEATED_QUERIES
from shared.settings import settings

REPEATS_MAX = 3
"""Runs of one statement in one batch. A batch in a few parts may need two or three; a loop over messages soon has more."""

SHAPES_MAX = 1_000
"""Different statements counted in one batch: a handler that writes values into its SQL must not fill the memory."""

SQL_LENGTH_MAX = 1_000
LOG_SECONDS = 60

logger = get_logger(__name__)

_VALUES = re.compile(r"'(?:[^']|'')*'|\b\d+(?:\.\d+)?\b")
_LISTS = re.compile(r"\(\s*(?:\?|%\(\w+\)s(?:::\w+)?)(?:\s*,\s*(?:\?|%\(\w+\)s(?:::\w+)?))+\s*\)")
_SPACE = re.compile(r"\s+")


class Watch:
    """What one batch has run so far."""

    def __init__(self, task: str) -> None:
        self.task = task
        self.total = 0
        self.shapes: Counter[str] = Counter()

    def saw(self, sql: str) -> None:
        """One more run of ``sql``."""
        self.total += 1
        shape = shape_of(sql)
        if shape in self.shapes or len(self.shapes) < SHAPES_MAX:
            self.shapes[shape] += 1

    def repeated(self) -> dict[str, int]:
        """The SQL that ran too often, with how often."""
        return {shape: times for shape, times in self.shapes.items() if times > REPEATS_MAX}


_watch: ContextVar[Watch | None] = ContextVar("watch", default=None)
_told: dict[tuple[str, str], float] = {}


@contextmanager
def watching(task: str) -> Iterator[Watch]:
    """Count the statements of a batch of ``task`` while the block runs, in this thread; report when it ends, also by an error."""
    watch = Watch(task)
    token = _watch.set(watch)
    try:
        yield watch
    finally:
        _watch.reset(token)
        _report(watch)


def forget() -> None:
    """Begin counting anew: a transaction is run again, and repeats its statements rightly."""
    watch = _watch.get()
    if watch is not None:
        watch.shapes.clear()


def instrument(engine: Engine) -> None:
    """Watch the statements of ``engine``."""
    event.listen(engine, "before_cursor_execute", _saw)


@lru_cache(maxsize=512)
def shape_of(sql: str) -> str:
    """``sql`` without values, and with lists of any length alike: what an N+1 repeats, and what may be shown."""
    return _LISTS.sub("(...)", _VALUES.sub("?", _SPACE.sub(" ", sql))).strip()


def _saw(_c: Any, _k: Any, statement: str, *_: Any) -> None:
    watch = _watch.get()
    if watch is not None:
        watch.saw(statement)


def _report(watch: Watch) -> None:
    BATCH_STATEMENTS.labels(watch.task).observe(watch.total)
    for shape, times in watch.repeated().items():
        REPEATED_QUERIES.labels(watch.task).inc(times)
        _tell(watch.task, shape[:SQL_LENGTH_MAX], times)


def _tell(task: str, sql: str, times: int) -> None:
    if settings().repeated_queries_file:
        with Path(settings().repeated_queries_file).open("ab") as file:
            file.write(orjson.dumps({"task": task, "sql": sql, "times": times}) + b"\n")
    now = monotonic_seconds()
    if now - _told.get((task, sql), -LOG_SECONDS) >= LOG_SECONDS:
        if len(_told) >= SHAPES_MAX:
            _told.clear()
        _told[task, sql] = now
        logger.warning("a batch repeats a statement; ask once for all its messages", task=task, sql=sql, times=times)
