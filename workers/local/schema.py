"""The database made ready: migrated, and the `demo` account made once.

Alembic and SQLAlchemy take more than a second to load, so a database that is as it was left is recognised without them.
"""

from pathlib import Path

import psycopg

from shared.db import migrations
from shared.errors import HeadraceError
from shared.settings import settings
from workers.local.record import DemoAccount, FleetRecord

DEMO = "demo"
"""Name of the account that the first start makes."""


def prepare(record: FleetRecord) -> None:
    """Migrate the database of the settings and make the account; ``record`` says what was done before and learns the rest.

    Raises HeadraceError when the database refuses.
    """
    newest, found = newest_revision(), _revision()
    if record.revision == newest == found:
        return
    if found and found > newest:
        return  # a newer version's, which only adds to what this one uses: the way back from an upgrade
    from sqlalchemy.exc import SQLAlchemyError  # noqa: PLC0415

    from shared.db.migrate import upgrade  # noqa: PLC0415
    from shared.db.session import transact  # noqa: PLC0415
    from shared.store import accounts  # noqa: PLC0415

    try:
        record.revision = upgrade()
        record.demo = record.demo or DemoAccount(*transact(lambda session: accounts.create(session, DEMO)))
    except accounts.AlreadyExists:
        return  # a database that another fleet prepared; its key is known there
    except SQLAlchemyError as error:
        said = str(getattr(error, "orig", None) or error).strip().splitlines()[0]
        raise HeadraceError(
            f"the database cannot be migrated: {said}; mend: see logs/postgres.log or HEADRACE_DATABASE_URL"
        ) from None


def newest_revision() -> str:
    """The newest revision that this code knows; files in ``versions/`` are named after theirs."""
    directory = Path(migrations.__path__[0]) / "versions"
    return max(file.stem.partition("_")[0] for file in directory.glob("[0-9]*.py"))


def _revision() -> str | None:
    try:
        with psycopg.connect(settings().database_url, connect_timeout=settings().database_connect_seconds) as connection:
            found = connection.execute("SELECT version_num FROM alembic_version").fetchone()
    except psycopg.Error:
        return None
    return str(found[0]) if found else None
