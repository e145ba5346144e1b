"""Whether a read may go to the replica: decided by its lag, the age of the measurement, and failures."""

import math
from collections.abc import Callable
from typing import Any

import psycopg
import pytest
from sqlalchemy import create_engine
from sqlalchemy.exc import OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.db.replica import MEASURE_SECONDS, TRUST_SECONDS, Replica, Sighting, lag_seconds

SIGHTINGS = [Sighting(0, 100), Sighting(1, 200), Sighting(2, 300)]


@pytest.mark.parametrize(
    ("position", "age_seconds", "lag"),
    [
        (300, 3600.0, 0.0),  # an idle primary is no lag, however long ago it committed
        (350, None, 0.0),
        (250, 30.0, 1.5),  # where it is the primary was 1.5 s ago
        (250, 0.002, 0.002),  # a busy pair: it replayed a commit of 2 ms ago
        (250, -5.0, 0.0),  # the servers' clocks differ
        (50, 7.0, 7.0),
        (50, None, math.inf),
    ],
)
def test_the_lag_is_the_smaller_of_what_our_clock_and_the_servers_say(
    position: int, age_seconds: float | None, lag: float
) -> None:
    assert lag_seconds(SIGHTINGS, position, age_seconds, 2.5) == lag


class Scene(Replica):
    """A replica whose servers are played by the test."""

    def __init__(self) -> None:
        self.time = 1000.0
        self.primary = self.replica = 500
        self.age: float | None = None
        self.primary_error: Exception | None = None
        self.replica_error: Exception | None = None
        self.waiting: list[Callable[[], None]] = []
        nowhere = create_engine("postgresql://nobody@127.0.0.1:1/none")
        super().__init__(nowhere, nowhere, lag_seconds_max=1.0, now=lambda: self.time, start=self.waiting.append)

    def measured(self, seconds: float = 0) -> str:
        """The verdict after so long and one measurement, if one is due."""
        self.time += seconds
        self.refusal()
        while self.waiting:
            self.waiting.pop()()
        return self.refusal()

    def _see_primary(self) -> bool:
        if isinstance(self.primary_error, PoolTimeout):
            raise self.primary_error
        if self.primary_error:
            return False
        self._sightings.append(Sighting(self.time, self.primary))
        return True

    def _ask_replica(self) -> tuple[int, float | None]:
        if self.replica_error:
            raise self.replica_error
        return self.replica, self.age


@pytest.fixture
def scene() -> Scene:
    return Scene()


def gone() -> OperationalError:
    return OperationalError("SELECT", {}, psycopg.OperationalError("gone"))


def test_nothing_is_known_before_the_first_measurement_and_nobody_waits_for_it(scene: Scene) -> None:
    assert scene.refusal() == "unknown"
    assert len(scene.waiting) == 1
    assert scene.measured() == ""


def test_it_is_measured_once_a_second_however_many_read(scene: Scene) -> None:
    scene.measured()
    for _ in range(100):
        scene.refusal()
    assert not scene.waiting
    scene.time += MEASURE_SECONDS
    for _ in range(100):
        scene.refusal()
    assert len(scene.waiting) == 1


def test_a_replica_that_falls_behind_serves_no_more_until_it_has_caught_up(scene: Scene) -> None:
    assert scene.measured() == ""
    scene.primary = 900
    assert scene.measured(1.0) == ""  # a second behind at the most, which is allowed
    assert scene.measured(1.0) == "lag"
    scene.replica = 900
    assert scene.measured(1.0) == ""


def test_a_measurement_that_hangs_is_trusted_for_a_few_seconds_only(scene: Scene) -> None:
    assert scene.measured() == ""
    scene.time += TRUST_SECONDS
    assert scene.refusal() == ""
    scene.time += 0.1
    assert scene.refusal() == "unknown"


def test_a_replica_that_fails_a_reader_is_left_alone_until_a_measurement_succeeds(scene: Scene) -> None:
    assert scene.measured() == ""
    scene.failed(gone())
    scene.replica_error = gone()
    assert scene.refusal() == "down"
    assert not scene.waiting, "not at once"
    assert scene.measured(1.0) == "down"
    scene.replica_error = None
    assert scene.measured(1.0) == ""


def test_while_the_primary_is_away_the_replica_serves_on_with_what_it_has(scene: Scene) -> None:
    assert scene.measured() == ""
    scene.primary_error = gone()
    for _ in range(10):
        assert scene.measured(1.0) == ""


def test_a_pool_that_is_exhausted_by_our_own_threads_says_nothing_of_the_servers(scene: Scene) -> None:
    assert scene.measured() == ""
    scene.primary_error = PoolTimeout()
    assert scene.measured(1.0) == ""
    assert scene.measured(TRUST_SECONDS) == "unknown"
    scene.primary_error = None
    assert scene.measured(1.0) == ""


def test_no_thread_to_be_had_is_no_end_of_measuring(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    def exhausted(_work: Any) -> None:
        raise RuntimeError("can't start new thread")

    with monkeypatch.context() as patch:
        patch.setattr(scene, "_start", exhausted)
        assert scene.refusal() == "unknown"
    assert scene.measured(1.0) == ""
