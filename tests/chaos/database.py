"""A database that faults are done to: the fleet's and the test's own, with what the fleet counted."""

import random
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from prometheus_client import CollectorRegistry
from prometheus_client.multiprocess import MultiProcessCollector

from tests.chaos import load
from tests.chaos.fleet import Fleet, running_fleet
from tests.chaos.ledger import Ledger, slowest_seconds
from tests.chaos.load import Load
from tests.chaos.report import show
from tests.conftest import RunningStack
from tests.factory import new_account
from tests.postgres_server import PostgresServer
from tests.redis_server import RedisServer

EMPTY = "TRUNCATE accounts, dead_letters RESTART IDENTITY CASCADE"


SETTLE_SECONDS = 60.0
"""For the backlog, after the last fault. How long a message took is asserted apart."""


@dataclass(frozen=True)
class Scene:
    """What each of these tests needs.

    Args:
        place: a directory that every uid may enter, for servers.
        metrics: where the fleet's processes count.
    """

    stack: RunningStack
    broker: RedisServer
    ledger: Ledger
    dice: random.Random
    place: Path
    metrics: Path

    @contextmanager
    def fleet(self, database: PostgresServer, url: str = "") -> Iterator[Fleet]:
        """A fleet without workers yet whose Postgres is ``database``, emptied; ``url``: another way to it, through a proxy."""
        database.execute(EMPTY)
        environment = {
            **self.stack.environment,
            "HEADRACE_DATABASE_URL": url or database.url,
            "HEADRACE_METRICS_DIR": str(self.metrics),
        }
        with running_fleet(replace(self.stack, database_url=database.url, environment=environment), self.broker) as it:
            yield it

    def flow(self, *, conversations: int = 50, batch: int = 20, every: float = 0.05) -> Load:
        """Messages of a new account, from now on until it is stopped."""
        send = load.to_lanes(self.broker.url, new_account())
        it = Load(send, self.ledger, "m", self.dice, conversations=conversations, batch=batch, every=every)
        it.start()
        return it

    def settle(self, fleet: Fleet) -> None:
        """Everything is stored, once and in order, and no worker gave up."""
        self.ledger.settle(self.broker.client, within=SETTLE_SECONDS)
        fleet.assert_alive()

    def show(self, row: str, what: str, injections: int, more: str = "") -> None:
        """Note the result."""
        show(row, what, injections=injections, messages=len(self.ledger), seconds=slowest_seconds(), more=more)

    def reruns(self, cause: str) -> int:
        """Transactions that the fleet has run again because of ``cause``."""
        registry = CollectorRegistry()
        MultiProcessCollector(registry, str(self.metrics))  # type: ignore[no-untyped-call]
        return int(registry.get_sample_value("headrace_db_reruns_total", {"cause": cause}) or 0)


def new_place(reachable_dir: Path, name: str) -> Path:
    """A directory for a server."""
    directory = Path(tempfile.mkdtemp(prefix=f"{name}-", dir=reachable_dir))
    directory.chmod(0o711)
    return directory
