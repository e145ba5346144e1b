"""Building an index while the fleet runs: ``CREATE INDEX CONCURRENTLY``, and what that needs to end well.

A build that fails or is killed leaves an index marked INVALID, which costs every write and serves no read, and which
``IF NOT EXISTS`` would take for the real one. So an invalid one is dropped and built anew. A build waits for transactions
older than itself; ``lock_timeout`` bounds each wait, and a few attempts outlive a transaction that was merely slow.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple

from psycopg.errors import LockNotAvailable, UniqueViolation
from sqlalchemy import Connection, text
from sqlalchemy.exc import OperationalError

from shared.errors import HeadraceError
from shared.retry import backoff_seconds

LOCK_SECONDS = 30
"""One wait for older transactions; those of the fleet take milliseconds."""

ATTEMPTS_MAX = 5

PROGRESS_SECONDS = 2
"""Between two looks at how far it is."""

VALID = text("""
SELECT i.indisvalid FROM pg_index i
WHERE i.indexrelid = to_regclass(:name)
""")

OLDEST = text("""
SELECT pid, coalesce(application_name, '') AS name, extract(epoch FROM now() - xact_start)::int AS seconds
FROM pg_stat_activity WHERE xact_start IS NOT NULL AND pid <> pg_backend_pid() AND backend_type = 'client backend'
ORDER BY xact_start LIMIT 1
""")

PROGRESS = text("""
SELECT phase, CASE WHEN blocks_total > 0 THEN 100 * blocks_done / blocks_total
                   WHEN tuples_total > 0 THEN 100 * tuples_done / tuples_total END AS percent
FROM pg_stat_progress_create_index WHERE datname = current_database() LIMIT 1
""")

Say = Callable[[str], None]


class Index(NamedTuple):
    """An index to build.

    Args:
        name: its own; at most 63 bytes.
        on: the table, and the columns in parentheses.
    """

    name: str
    on: str
    unique: bool = False


class IndexNotBuilt(HeadraceError):
    """An index could not be built. Reads are slow without it and right all the same; run the upgrade again."""


def build(connection: Connection, index: Index, say: Say | None = None) -> None:
    """Build ``index`` unless it is there and valid. ``connection`` is in autocommit. Raises IndexNotBuilt."""
    connection.execute(text(f"SET lock_timeout = '{LOCK_SECONDS}s'"))
    try:
        for attempt in range(1, ATTEMPTS_MAX + 1):
            if _is_there(connection, index.name, say):
                return
            if _built(connection, index, say):
                return
            if attempt < ATTEMPTS_MAX:
                threading.Event().wait(backoff_seconds(attempt, first=1, most=10))
        raise IndexNotBuilt(f"the index {index.name} is not built: {_in_the_way(connection)}; mend: end it, run this again")
    finally:
        connection.execute(text("RESET lock_timeout"))


def _is_there(connection: Connection, name: str, say: Say | None) -> bool:
    valid = connection.execute(VALID, {"name": name}).scalar_one_or_none()
    if valid is False:
        if say:
            say(f"{name}: an earlier build was left half-done, dropping it")
        connection.execute(text(f"DROP INDEX CONCURRENTLY IF EXISTS {name}"))
    return valid is True


def _built(connection: Connection, index: Index, say: Say | None) -> bool:
    unique = "UNIQUE " if index.unique else ""
    if say:
        say(f"{index.name}: building on {index.on}")
    try:
        connection.execute(text(f"CREATE {unique}INDEX CONCURRENTLY {index.name} ON {index.on}"))
    except OperationalError as error:
        if not isinstance(error.orig, LockNotAvailable):
            raise
        if say:
            say(f"{index.name}: waited {LOCK_SECONDS} s for an older transaction, trying again")
        return False
    except Exception as error:
        if isinstance(getattr(error, "orig", None), UniqueViolation):
            raise IndexNotBuilt(
                f"the index {index.name} on {index.on} is not built: rows are there twice; mend: delete one of each, run it again"
            ) from None
        raise
    return True


def _in_the_way(connection: Connection) -> str:
    row = connection.execute(OLDEST).first()
    if row is None:
        return f"its table stayed locked for {ATTEMPTS_MAX} times {LOCK_SECONDS} s"
    return f"process {row.pid} ({row.name or 'unnamed'}) has a transaction open for {row.seconds} s"


@contextmanager
def told(watcher: Connection, say: Say | None) -> Iterator[None]:
    """Say how far an index build is, while the block runs. ``watcher`` is another connection than the one that builds."""
    if say is None:
        yield
        return
    over = threading.Event()
    thread = threading.Thread(target=_tell, args=(watcher, say, over), name="index-progress", daemon=True)
    thread.start()
    try:
        yield
    finally:
        over.set()
        thread.join()


def _tell(watcher: Connection, say: Say, over: threading.Event) -> None:
    last = None
    while not over.wait(PROGRESS_SECONDS):
        watcher.execute(text("SELECT pg_stat_clear_snapshot()"))  # a transaction sees activity as it first saw it
        row = watcher.execute(PROGRESS).first()
        if row is not None and (row.phase, row.percent) != last:
            last = (row.phase, row.percent)
            say(f"  {row.phase}{'' if row.percent is None else f', {row.percent} %'}")
