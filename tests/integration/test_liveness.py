"""A worker's `/livez` on the real thing: what makes it fail, what does not, and what mends itself before it does.

The faults are made by a module that the worker imports like a user's task: a file freezes the event loop, or makes a
consumer's fetch forget that it has work.
"""

import os
import socket
from collections.abc import Callable
from pathlib import Path

import pytest
import redis
from pytest_celery import CeleryTestWorker

from shared.broker.claims import Claims
from shared.clock import monotonic_seconds
from shared.producer import Producer
from shared.topology import all_queues
from tests.conftest import RunningStack
from tests.factory import count, message, new_account, queued
from tests.foreground import foreground, status
from tests.waiting import eventually
from workers.local.ports import choose

StartWorker = Callable[..., CeleryTestWorker]

STALL_SECONDS = 3.0

FAULTS = '''
"""Faults by file."""

import threading
from pathlib import Path

from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from shared.app import app
from shared.broker.fetch import Fetch

FREEZE, WEDGE, WEDGE_ALWAYS = (Path(__file__).with_name(name) for name in ("freeze", "wedge", "wedge-always"))
pause = threading.Event()


class Freezer(bootsteps.StartStopStep):
    requires = (Tasks,)

    def start(self, consumer):
        consumer.timer.call_repeatedly(0.2, self.look)

    def look(self):
        while FREEZE.exists():
            pause.wait(0.1)


def pause_or_wedge(self, now, stock=Fetch.pause):
    if WEDGE.exists():
        WEDGE.unlink()
        self.wedged = True
    if WEDGE_ALWAYS.exists() or getattr(self, "wedged", False):
        return None
    return stock(self, now)


Fetch.pause = pause_or_wedge
app.steps["consumer"].add(Freezer)
'''


@pytest.fixture
def faults(tmp_path: Path) -> Path:
    """The directory whose files make faults."""
    (tmp_path / "worker_faults.py").write_text(FAULTS)
    return tmp_path


@pytest.fixture
def start(start_worker: StartWorker, faults: Path) -> Callable[[str], str]:
    """Starts a worker that can be made to fail; the address of its health."""

    def started(name: str = "w1") -> str:
        port = choose(0)
        start_worker(
            name,
            PYTHONPATH=os.pathsep.join([str(faults), os.environ.get("PYTHONPATH", "")]),
            HEADRACE_TASK_MODULES="worker_faults",
            HEADRACE_HEALTH_PORT=str(port),
            HEADRACE_HEALTH_STALL_SECONDS=str(STALL_SECONDS),
        )
        return f"http://127.0.0.1:{port}"

    return started


def stored() -> int:
    return count("SELECT count(*) FROM messages")


def dead(address: str) -> Callable[[], bool]:
    return lambda: status(address + "/livez") == 503


def test_a_loop_that_stands_still_is_not_alive_and_one_that_goes_on_is_again(start: Callable[[str], str], faults: Path) -> None:
    address = start("w1")
    assert (status(address + "/livez"), status(address + "/readyz"), status(address + "/metrics")) == (200, 200, 200)
    (faults / "freeze").touch()
    eventually("it is not alive", dead(address), within=30)
    assert status(address + "/readyz") == 503
    (faults / "freeze").unlink()
    eventually("it is alive again", lambda: status(address + "/livez") == 200, within=30)


def test_a_worker_whose_health_cannot_be_served_says_so_and_ends(clean: RunningStack, tmp_path: Path) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        faults = {
            "HEADRACE_HEALTH_PORT": (str(taken.getsockname()[1]), "; set HEADRACE_HEALTH_PORT\n"),
            "HEADRACE_HEALTH_PORT_FILE": (
                str(tmp_path / "nowhere" / "port"),
                "; set HEADRACE_HEALTH_PORT_FILE to another path\n",
            ),
        }
        for setting, (value, mend) in faults.items():
            with foreground("worker", {**clean.environment, setting: value}) as worker:
                assert worker.process.wait(60) == 1
                assert (worker.log.count("headrace: "), worker.log.endswith(mend)) == (1, True), worker.log
                assert "Traceback" not in worker.log


def test_a_consumer_that_takes_nothing_begins_anew_by_itself(
    start: Callable[[str], str], faults: Path, producer: Producer, broker: redis.Redis
) -> None:
    account = new_account()
    start("w1")
    before = broker.zrange("headrace:consumers", 0, -1)
    (faults / "wedge").touch()
    eventually("its fetch is wedged", lambda: not (faults / "wedge").exists())
    producer.publish([queued(account, message(f"m{number}")) for number in range(50)])
    eventually("all are stored", lambda: stored() == 50, within=30)
    assert broker.zrange("headrace:consumers", 0, -1) != before


def test_a_consumer_that_cannot_be_mended_is_not_alive(start: Callable[[str], str], faults: Path, producer: Producer) -> None:
    account = new_account()
    address = start("w1")
    (faults / "wedge-always").touch()
    producer.publish([queued(account, message("m1"))])
    eventually("it is not alive", dead(address), within=60)
    (faults / "wedge-always").unlink()
    eventually("it is stored", lambda: stored() == 1, within=30)
    eventually("it is alive", lambda: not dead(address)(), within=30)


def test_an_idle_worker_a_paused_queue_and_a_lane_that_another_holds_are_no_faults(
    start: Callable[[str], str], producer: Producer, broker: redis.Redis
) -> None:
    account = new_account()
    claims = Claims(broker)
    paused = queued(account, message("m1", "c-1"))
    others = (queued(account, message("m2", f"c-{number}")) for number in range(2, 100))
    held = next(other for other in others if other.queue != paused.queue)
    claims.join("another", 600_000)
    producer.publish([held, held])
    assert claims.claim("another", [(held.queue, True)], 1).messages
    claims.pause([paused.queue])
    producer.publish([paused])
    address = start("w1")
    stays_alive(address, seconds=3 * STALL_SECONDS)
    assert (broker.llen(paused.queue), broker.llen(held.queue), stored()) == (1, 1, 0)
    claims.leave("another")
    claims.resume(all_queues(32))
    eventually("all are stored", lambda: stored() == 2, within=30)


def stays_alive(address: str, *, seconds: float) -> None:
    """Look for so long; it must be alive at every look."""
    until = monotonic_seconds() + seconds

    def over() -> bool:
        assert status(address + "/livez") == 200
        return monotonic_seconds() > until

    eventually("the time is over", over, within=seconds + 10, every=0.2)
