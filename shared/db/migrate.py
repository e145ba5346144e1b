"""Migrations, run by Alembic from inside the package: no alembic.ini, no working directory to be in.

Each migration is a transaction of its own and is recorded in it, so one that fails leaves the database at the revision before;
only index builds are outside any, and `index_build` mends what a failed one leaves. Two processes that upgrade at once run one
after the other: the lock is held by a transaction of a second connection, so that it ends with the process, however that ends.
"""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text

from shared.db.engine import engine
from shared.db.index_build import Say, told
from shared.db.models import Base
from shared.errors import ConfigurationError, HeadraceError
from shared.settings import settings

MIGRATION_LOCK = 4_841_073
"""Key of the advisory lock."""

LOCK_POLL_SECONDS = 0.5

NEWEST = "head"

TABLES = text("""
SELECT relname FROM pg_class WHERE relkind IN ('r', 'p') AND relname = ANY(:names) AND pg_table_is_visible(oid) ORDER BY relname
""")


class HalfDone(HeadraceError):
    """The database is in no state that a migration can start from. Nothing was changed; the text says what to do."""


def config() -> Config:
    """Alembic's configuration of this package."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return alembic


def upgrade(say: Say | None = None, *, to: str = NEWEST) -> str:
    """Bring the database to the newest revision, and return that revision. Safe to repeat, and from several machines at once.

    Args:
        say: told what is done, a line each.
        to: an older revision to stop at.

    Raises HalfDone, IndexNotBuilt when a long transaction is in the way, ConfigurationError behind PgBouncer; all name the mend.
    """
    if settings().database_pgbouncer:
        return _nothing_to_do()
    with _lock(say) as watcher, engine().connect() as connection:
        _require_whole(connection)
        connection.rollback()
        connection.execute(text("SET statement_timeout = 0"))  # building an index takes as long as it takes
        connection.commit()
        before = _revision(connection)
        try:
            with told(watcher, say):
                command.upgrade(_with(connection, say), to)
            after = _revision(connection) or ""
            if after != before:
                _analyze(connection)
            return after
        finally:
            connection.invalidate()  # its time-outs are not those of the pool


def current_and_newest() -> tuple[str | None, str | None]:
    """As `revisions`, on a connection of its own."""
    with engine().connect() as connection:
        return revisions(connection)


def revisions(connection: Connection) -> tuple[str | None, str | None]:
    """The database's revision and the newest one that this code knows."""
    current = MigrationContext.configure(connection).get_current_revision()
    return current, ScriptDirectory.from_config(config()).get_current_head()


def _nothing_to_do() -> str:
    """The revision, when it is the newest. An upgrade sets limits for its session, which behind a pooler is somebody else's."""
    current, newest = current_and_newest()
    if current is None or current != newest:
        raise ConfigurationError(
            f"the database is at revision {current}, not {newest}, and cannot be upgraded through PgBouncer; mend: again, with "
            "the server's own HEADRACE_DATABASE_URL and HEADRACE_DATABASE_PGBOUNCER=false"
        )
    return current


@contextmanager
def _lock(say: Say | None) -> Iterator[Connection]:
    # Each statement with a snapshot of its own, whatever the database's default: one that is held for the length of this
    # transaction is what an index build waits for, for ever.
    with engine().connect().execution_options(isolation_level="READ COMMITTED") as connection, connection.begin():
        for name in ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout"):
            connection.execute(text(f"SET LOCAL {name} = 0"))
        told = False
        # For the same reason: parameters would leave a portal with a snapshot, and so would waiting inside the server for the
        # lock that the builder holds.
        while not connection.exec_driver_sql(f"SELECT pg_try_advisory_xact_lock({MIGRATION_LOCK})").scalar_one():
            if say and not told:
                told = True
                say("another process upgrades this database, waiting for it")
            threading.Event().wait(LOCK_POLL_SECONDS)
        yield connection


def _require_whole(connection: Connection) -> None:
    known = {script.revision for script in ScriptDirectory.from_config(config()).walk_revisions()}
    heads = MigrationContext.configure(connection).get_current_heads()
    if len(heads) > 1:
        raise HalfDone(f"the database says it is at revisions {', '.join(heads)} at once; mend: restore it from a backup")
    if heads and heads[0] not in known:
        raise HalfDone(
            f"the database is at revision {heads[0]}, which this version does not know: a newer Headrace upgraded it; "
            "mend: install that version here"
        )
    found = _tables(connection)
    if found and not heads:
        raise HalfDone(
            f"the database has a table {found[0]} and no revision: it is another program's, or was restored in part; "
            "mend: name an empty database in HEADRACE_DATABASE_URL, or restore the whole of this one"
        )
    missing = {"accounts", "messages"} - set(found)
    if heads and missing:
        raise HalfDone(
            f"the database says it is at revision {heads[0]} and has no table {min(missing)}; mend: restore it from a backup"
        )


def _with(connection: Connection, say: Say | None) -> Config:
    def applied(step: Any, **_: Any) -> None:
        if say:
            say(f"applied {step.up_revision_id}: {_title(step.up_revision.doc)}")

    alembic = config()
    alembic.attributes.update(connection=connection, say=say, on_applied=applied)
    return alembic


def _title(doc: str) -> str:
    return doc.strip().splitlines()[0].rstrip(".")


def _analyze(connection: Connection) -> None:
    """Plans for tables that a migration filled or made would stand on no statistics."""
    connection.execute(text(f"ANALYZE {', '.join(_tables(connection))}"))
    connection.commit()


def _tables(connection: Connection) -> list[str]:
    """Those of ours that are there."""
    return list(connection.execute(TABLES, {"names": list(Base.metadata.tables)}).scalars())


def _revision(connection: Connection) -> str | None:
    revision = MigrationContext.configure(connection).get_current_revision()
    connection.rollback()  # no transaction may be open when Alembic begins its own
    return revision
