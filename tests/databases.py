"""A database of a test's own in the stack's server: empty, or as an earlier version left it."""

from collections.abc import Iterator
from contextlib import contextmanager
from uuid import uuid4

import psycopg
import pytest
from sqlalchemy.engine import make_url

from shared.db.engine import close_engine
from shared.settings import settings
from tests.conftest import RunningStack


@contextmanager
def empty_database(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    """Its URL; this process's settings point at it for the length of the block."""
    name = f"own_{uuid4().hex}"
    url = make_url(stack.database_url).set(database=name).render_as_string(hide_password=False)
    with psycopg.connect(stack.database_url, autocommit=True) as server:
        server.execute(f"CREATE DATABASE {name}")
        close_engine()
        with monkeypatch.context() as changes:
            changes.setenv("HEADRACE_DATABASE_URL", url)
            settings.cache_clear()
            try:
                yield url
            finally:
                close_engine()
        settings.cache_clear()
        server.execute(f"DROP DATABASE {name} WITH (FORCE)")
