"""Migrations, run by Alembic from inside the package: no alembic.ini, no working directory to be in."""

from pathlib import Path

from alembic import command
from alembic.config import Config
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import text

from shared.db.engine import engine

MIGRATION_LOCK = 4_841_073
"""Key of the advisory lock: two processes that upgrade at once run one after the other."""


def config() -> Config:
    """Alembic's configuration of this package."""
    alembic = Config()
    alembic.set_main_option("script_location", str(Path(__file__).parent / "migrations"))
    return alembic


def upgrade() -> str:
    """Bring the database to the newest revision, in one transaction, and return that revision."""
    with engine().begin() as connection:
        connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": MIGRATION_LOCK})
        connection.execute(text("SET LOCAL statement_timeout = 0"))  # building an index takes as long as it takes
        alembic = config()
        alembic.attributes["connection"] = connection
        command.upgrade(alembic, "head")
        return MigrationContext.configure(connection).get_current_revision() or ""


def current_and_newest() -> tuple[str | None, str | None]:
    """The database's revision and the newest one that this code knows."""
    with engine().connect() as connection:
        current = MigrationContext.configure(connection).get_current_revision()
    return current, ScriptDirectory.from_config(config()).get_current_head()
