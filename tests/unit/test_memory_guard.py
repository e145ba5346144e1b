"""The guard's steps: one child at a time, only an idle one, each told once."""

from collections.abc import Callable
from pathlib import Path

import pytest
from celery.worker import state
from prometheus_client import REGISTRY

from workers.memory import guard as module
from workers.memory.guard import EXIT_MEMORY, Guard
from workers.memory.policy import Limits
from workers.memory.sampler import Reading, Sampler

MB = 2**20
PARENT, FIRST, SECOND = 10, 11, 12
LIMITS = Limits(worker=512 * MB, child=192 * MB, growth=96 * MB, container=0.9)


class Pool:
    """Stands for `Children`."""

    def __init__(self) -> None:
        self.pids = {FIRST: 0, SECOND: 1}
        self.busy: set[int] = set()
        self.retired: list[int] = []
        self.killed: list[int] = []
        self.aside: set[int] = set()
        self.whole = True

    def retire(self, pid: int) -> bool:
        if pid in self.busy:
            return False
        self.retired.append(pid)
        self.whole = False
        return True

    def set_aside(self, pid: int) -> None:
        if pid not in self.busy:
            self.aside.add(pid)

    def kill(self, pid: int) -> None:
        self.killed.append(pid)

    def replace(self, old: int, new: int) -> None:
        self.pids[new] = self.pids.pop(old)
        self.whole = True


class World:
    """A guard on a clock and a pool that the test turns."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 1_000.0
        monkeypatch.setattr(module, "monotonic_seconds", lambda: self.now)
        self.pool, self.sampler = Pool(), Sampler(Path("/nonexistent"))
        self.guard = Guard(self.pool, self.sampler, LIMITS, "w@host", PARENT)  # type: ignore[arg-type]
        self.measured(60, 30, 30)

    def measured(self, parent: int, first: int, second: int, after: float = 1.0) -> None:
        """MB of the three, ``after`` seconds."""
        self.now += after
        sizes = dict(zip((PARENT, *self.pool.pids), (parent * MB, first * MB, second * MB), strict=True))
        self.sampler.latest = Reading(self.now, sizes, None)
        self.guard.look()


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def test_a_child_that_is_due_goes_when_its_batch_is_done_and_not_before(world: World) -> None:
    world.pool.busy = {FIRST}
    world.measured(60, 150, 30)
    world.measured(60, 150, 30)
    world.guard.between_batches()
    assert world.pool.retired == []
    world.pool.busy = set()
    world.guard.between_batches()
    world.guard.between_batches()
    assert world.pool.retired == [FIRST]


def test_two_children_are_never_replaced_at_once(world: World) -> None:
    world.measured(60, 150, 160)
    assert world.pool.retired == [SECOND]
    world.measured(60, 150, 160)
    world.measured(60, 150, 160)
    assert world.pool.retired == [SECOND]
    world.pool.replace(SECOND, 13)
    world.measured(60, 150, 30)
    assert world.pool.retired == [SECOND], "a pause after each"
    world.measured(60, 150, 30, after=module.PAUSE_SECONDS)
    assert world.pool.retired == [SECOND, FIRST]


def test_a_child_over_its_whole_limit_runs_no_further_batch_while_it_waits_for_its_turn(world: World) -> None:
    world.pool.busy = {FIRST}
    world.measured(60, 200, 210)
    assert world.pool.retired == [SECOND]
    assert FIRST not in world.pool.aside
    world.pool.busy = set()
    world.guard.between_batches()
    assert FIRST in world.pool.aside
    world.pool.replace(SECOND, 13)
    world.measured(60, 200, 30)
    assert world.pool.retired == [SECOND, FIRST], "without the pause: it idles"


def test_growth_is_over_the_child_s_own_beginning(world: World) -> None:
    world.pool.replace(FIRST, 13)
    world.measured(60, 30, 110)  # the new one is the second key now
    world.measured(60, 30, 190)
    assert world.pool.retired == []
    world.measured(60, 127, 190)
    assert world.pool.retired == [SECOND]


def test_a_child_that_does_not_go_when_told_is_killed(world: World) -> None:
    world.measured(60, 150, 30)
    world.measured(60, 150, 30, after=module.RETIRE_SECONDS_MAX - 1)
    assert world.pool.killed == []
    world.measured(60, 150, 30, after=2)
    assert world.pool.killed == [FIRST]


def test_a_parent_that_leaks_stops_the_worker_once(
    world: World, monkeypatch: pytest.MonkeyPatch, request: pytest.FixtureRequest
) -> None:
    told: list[int] = []
    send: Callable[..., None] = lambda **fields: told.append(fields["exitcode"])  # noqa: E731
    monkeypatch.setattr(module.signals.worker_shutting_down, "send", send)
    monkeypatch.setattr(state, "should_stop", None)
    world.measured(500, 30, 30)
    world.measured(500, 30, 30)
    assert told == [EXIT_MEMORY]
    assert state.should_stop == EXIT_MEMORY


def test_what_a_worker_may_hold_is_shown_beside_what_it_holds(world: World) -> None:
    world.measured(60, 30, 30)
    assert REGISTRY.get_sample_value("headrace_worker_memory_max_bytes", {"worker": "w@host"}) == 512 * MB
    assert REGISTRY.get_sample_value("headrace_worker_pss_bytes", {"worker": "w@host", "process": "parent"}) == 60 * MB
