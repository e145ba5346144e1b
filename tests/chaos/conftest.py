"""The seed of a run, the broker that faults are done to, and the table at the end."""

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos import report
from tests.chaos.database import Scene, new_place
from tests.chaos.fleet import Fleet, running_fleet
from tests.chaos.form import LONG
from tests.chaos.ledger import Ledger
from tests.conftest import RunningStack
from tests.factory import new_account
from tests.hosts import Network, network, why_not
from tests.redis_server import EMBEDDED, RedisServer, running

SEED_MAX = 1_000_000


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--seed", type=int, default=None, help="replays the schedules of faults of an earlier run")


@pytest.fixture(scope="session")
def seed(request: pytest.FixtureRequest) -> int:
    """Of ``--seed``, CHAOS_SEED, or new."""
    given = request.config.getoption("--seed", default=None)
    chosen = given if given is not None else int(os.environ.get("CHAOS_SEED") or random.SystemRandom().randrange(SEED_MAX))
    report.seeds.append(chosen)
    return chosen


@pytest.fixture
def dice(seed: int, request: pytest.FixtureRequest) -> random.Random:
    """The test's own, so that a test run alone rolls what it rolls among the others."""
    again = "chaos" if LONG else "test"
    print(f"seed {seed}; again: make {again} ARGS='tests/chaos --seed {seed} -k {request.node.originalname}'")  # noqa: T201
    return random.Random(f"{seed} {request.node.name}")


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    """As the fleet's embedded one: on disk before it answers, and never evicting."""
    if not EMBEDDED:
        pytest.skip("no redis-server in the venv")
    (tmp_path / "broker").mkdir()
    with running(EMBEDDED, tmp_path / "broker", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def fleet(clean: RunningStack, broker: RedisServer) -> Iterator[Fleet]:
    with running_fleet(clean, broker) as it:
        yield it


@pytest.fixture
def two_hosts() -> Iterator[Network]:
    """Two hosts of the test's own, or a skipped test."""
    if reason := why_not():
        pytest.skip(reason)
    with network(2) as it:
        yield it


@pytest.fixture
def account(clean: RunningStack) -> str:
    return new_account()


@pytest.fixture
def ledger() -> Ledger:
    return Ledger()


@pytest.fixture
def scene(  # noqa: PLR0917 - pytest fills them in by name
    clean: RunningStack, broker: RedisServer, ledger: Ledger, dice: random.Random, reachable_dir: Path, tmp_path: Path
) -> Scene:
    """For faults of the database."""
    (tmp_path / "metrics").mkdir()
    return Scene(clean, broker, ledger, dice, new_place(reachable_dir, "faults"), tmp_path / "metrics")


def pytest_terminal_summary(terminalreporter: Any) -> None:
    if report.lines:
        terminalreporter.section(f"faults survived, seed {next(iter(report.seeds), None)}")
        for line in (report.HEAD, *map(str, report.lines)):
            terminalreporter.write_line(line)
