"""Row 13 of the faults: batches opposed by who takes the same locks the other way round, or changes the rows that they saw."""

import random
import threading
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import psycopg
import pytest

from tests.chaos.database import Scene, new_place
from tests.chaos.form import sized
from tests.chaos.ledger import stored
from tests.conftest import RunningStack
from tests.postgres_server import PostgresServer, serving
from tests.waiting import eventually

CONVERSATIONS = 8
"""So few that each batch has most of them."""
TOUCH = "UPDATE conversations SET last_message_at = last_message_at WHERE external_id = %s"
CONFLICTS = {
    "deadlock": ("10ms", "read committed"),
    "serialization": ("1s", "repeatable read"),
}
"""The time after which our batches look for a deadlock, and the isolation in which they run."""


@pytest.fixture(params=CONFLICTS)
def cause(request: pytest.FixtureRequest) -> str:
    return str(request.param)


@pytest.fixture
def server(stack: RunningStack, reachable_dir: Path, cause: str) -> Iterator[PostgresServer]:
    """One on which our batches lose."""
    patience, isolation = CONFLICTS[cause]
    with serving(PostgresServer(new_place(reachable_dir, "conflicts") / "primary", f"--deadlock_timeout={patience}")) as it:
        it.execute(f"ALTER DATABASE headrace SET default_transaction_isolation = '{isolation}'")
        yield it


class Opponent(threading.Thread):
    """Takes the conversations' locks in the order opposed to a batch's. It looks for a deadlock later than the batch does, so who
    gives way is the batch, unless the knot was tied after its look."""

    def __init__(self, url: str, dice: random.Random) -> None:
        super().__init__()
        self._url, self._dice = url, random.Random(dice.random())
        self._enough = threading.Event()

    def run(self) -> None:
        with psycopg.connect(self._url) as connection:
            connection.execute("SET deadlock_timeout = '100ms'; SET default_transaction_isolation = 'read committed'")
            connection.commit()
            while not self._enough.wait(self._dice.uniform(0, 0.01)):
                with suppress(psycopg.errors.DeadlockDetected), connection.transaction():
                    for number in reversed(range(CONVERSATIONS)):
                        connection.execute(TOUCH, [f"m-c{number:04d}"])
                        self._enough.wait(0.001)

    def stop(self) -> None:
        """Let go."""
        self._enough.set()
        self.join(30)


def test_batches_that_lose_a_conflict_run_again_and_nothing_is_lost_or_doubled(
    scene: Scene, server: PostgresServer, cause: str
) -> None:
    wanted = sized(20, 500)
    with scene.fleet(server) as fleet:
        flow = scene.flow(conversations=CONVERSATIONS, every=0.02)
        fleet.start_together("w1", "w2")
        eventually("every conversation is there", lambda: stored() > 50 * CONVERSATIONS)
        opponents = [Opponent(server.url, scene.dice) for _ in range(2)]
        for opponent in opponents:
            opponent.start()
        try:
            eventually("so many batches lost", lambda: scene.reruns(cause) >= wanted, within=60 + wanted, every=0.5)
        finally:
            for opponent in opponents:
                opponent.stop()
        flow.stop()
        scene.settle(fleet)
        lost = scene.reruns(cause)
    scene.show("13", f"{cause} failure of a batch", lost)
