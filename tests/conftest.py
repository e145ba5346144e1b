"""What several tests stand on: one embedded stack for the whole run, emptied before each test that asks for it."""

import os
import shutil
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import hypothesis
import psycopg
import pytest
import redis

from shared.settings import PREFIX, settings
from tests import repeated_queries
from tests.waiting import eventually
from workers.local import ports
from workers.local.child import Child
from workers.local.identity import end
from workers.local.servers import secrets_for, servers

hypothesis.settings.register_profile("headrace", deadline=None)  # how long an example takes says nothing on a busy machine
hypothesis.settings.load_profile("headrace")


@dataclass(frozen=True)
class RunningStack:
    """The servers' addresses; ``environment`` is what a child process needs to find them."""

    database_url: str
    broker_url: str
    cache_url: str
    data_dir: Path
    environment: dict[str, str]


def free_ports(count: int = 3) -> int:
    """The first of ``count`` loopback ports in a row that nobody listens on, below those that the system hands out."""
    begin = os.getpid() * 31 % 12_000  # test processes side by side look at different places first
    for place in range(0, 12_000, count):
        first = 20_000 + (begin + place) % (12_000 - count)
        if all(ports.is_free(first + each) for each in range(count)):
            return first
    raise AssertionError(f"no {count} free ports in a row")


@pytest.fixture(scope="session")
def reachable_dir() -> Iterator[Path]:
    """A directory that every uid may enter: as root, Postgres runs under another one, which pytest's own directories shut out."""
    directory = Path(tempfile.mkdtemp(prefix="headrace-"))
    directory.chmod(0o711)
    yield directory
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="session")
def stack(reachable_dir: Path) -> Iterator[RunningStack]:
    """Postgres, broker and cache, migrated; this process's settings point at them."""
    from shared.cache.tiers import close_tiers
    from shared.db.engine import close_engine
    from shared.db.migrate import upgrade

    data_dir = reachable_dir / "stack"
    data_dir.mkdir(mode=0o711)
    for name in [each for each in os.environ if each.startswith(PREFIX)]:
        del os.environ[name]
    os.environ[f"{PREFIX}DATA_DIR"] = str(data_dir)
    settings.cache_clear()
    close_tiers()
    chosen = servers(data_dir, settings(), secrets_for({}))
    own = {f"{PREFIX}DATA_DIR": str(data_dir), repeated_queries.VARIABLE: str(data_dir / "repeated_queries")}
    environment = {**own, **chosen.environment}
    os.environ.update(environment)
    settings.cache_clear()
    children = [Child(program, data_dir / f"{program.name}.log") for program in chosen.programs]
    try:
        eventually("the servers are ready", lambda: all(child.program.is_ready() for child in children), within=30)
        upgrade()
        config = settings()
        yield RunningStack(config.database_url, config.broker_url, config.cache_url, data_dir, environment)
    finally:
        close_tiers()
        close_engine()
        end(child.stoppable for child in children)


@pytest.fixture(autouse=True)
def no_statement_is_repeated() -> Iterator[None]:
    """No batch of the test, here or in a worker of its, asks for each message what it should ask once for all."""
    yield
    repeated_queries.fail_on_complaints()


@pytest.fixture
def clean(stack: RunningStack) -> RunningStack:
    """The stack with empty tables and empty queues; the schema stays."""
    with redis.Redis.from_url(stack.broker_url) as broker, redis.Redis.from_url(stack.cache_url) as cache:
        broker.flushall()
        cache.flushall()
    with psycopg.connect(stack.database_url, autocommit=True) as connection:
        found = connection.execute(
            "SELECT string_agg(quote_ident(tablename), ', ') FROM pg_tables"
            " WHERE schemaname = 'public' AND tablename <> 'alembic_version'"
        ).fetchone()
        connection.execute(f"TRUNCATE {found[0]} RESTART IDENTITY")
    return stack
