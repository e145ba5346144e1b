"""Row 24 of the faults, a handler that leaks, and what else grows: children are replaced under load, and nothing is lost."""

import json
import os
import stat
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import redis

from tests.chaos import harms, load
from tests.chaos.fleet import Fleet, Watched
from tests.chaos.form import long_form, sized
from tests.chaos.harms import DELIVERED
from tests.chaos.ledger import Ledger
from tests.chaos.report import show
from tests.conftest import RunningStack
from tests.factory import message
from tests.waiting import eventually
from workers.memory.pss import pss_bytes

MB = 2**20
EXIT_MEMORY = 75
WORKER_MB = 400
CONTAINERS = Path("/sys/fs/cgroup/memory")


class Leaks:
    """Messages that leak, published and promised."""

    def __init__(self, broker_url: str, account: str, ledger: Ledger) -> None:
        self.sent = 0
        self._send, self._ledger = load.to_lanes(broker_url, account), ledger

    def send(self, count: int, text: str = "leaks 200000") -> None:
        batch = [message(f"m{n}", f"c{n % 40}", text=text) for n in range(self.sent, self.sent + count)]
        self._send(batch)
        self._ledger.enter(batch)
        self.sent += count


@pytest.fixture
def leaks(fleet: Fleet, account: str, ledger: Ledger) -> Leaks:
    return Leaks(fleet.broker.url, account, ledger)


@pytest.fixture
def delivered(clean: RunningStack) -> Callable[[], int]:
    """How many messages handlers were given."""
    client = redis.Redis.from_url(clean.cache_url)
    return lambda: client.llen(DELIVERED)


def settings(**values: object) -> dict[str, str]:
    """As variables. Small batches, so that a child's end is often possible."""
    return {f"HEADRACE_{name.upper()}": str(value) for name, value in {"batch_messages_max": 20, **values}.items()}


def pss(worker: Watched) -> int:
    """Of all of its processes together."""
    return sum(pss_bytes(process.pid) or 0 for process in worker.tree())


def recycled(directory: Path) -> dict[str, int]:
    """By reason, as the worker's metrics say."""
    code = "from shared.metrics import recycles; import json; print(json.dumps(recycles()))"
    environment = {**os.environ, "HEADRACE_METRICS_DIR": str(directory)}
    done = subprocess.run([sys.executable, "-c", code], env=environment, check=True, capture_output=True, text=True, timeout=30)
    found: dict[str, int] = json.loads(done.stdout)
    return found


def test_a_leak_is_recycled_under_the_limit_between_batches_and_no_message_is_lost(
    fleet: Fleet, leaks: Leaks, ledger: Ledger, delivered: Callable[[], int], tmp_path: Path
) -> None:
    wanted, metrics = sized(4, 100), tmp_path / "metrics"
    metrics.mkdir()
    environment = settings(child_growth_mb=40, child_memory_mb=140, worker_memory_mb=WORKER_MB, metrics_dir=metrics)
    (worker,) = fleet.start_together("w1", kind=Watched, **environment)
    seen: set[int] = set()
    most = 0

    def enough() -> bool:
        nonlocal most
        seen.update(process.pid for process in worker.tree()[1:])
        most = max(most, pss(worker))
        leaks.send(18)
        leaks.send(2, text="takes 0.05")  # so that a child is mostly in the middle of a batch
        return len(seen) >= wanted + 2

    eventually(f"{wanted} children are replaced under load", enough, within=60 + 5 * wanted)
    ledger.settle(fleet.broker.client, within=120 + 5 * wanted)
    assert delivered() == leaks.sent, "no batch was interrupted, so none ran twice"
    assert most < WORKER_MB * MB
    assert recycled(metrics).keys() <= {"child_growth", "child_memory"}
    worker.kill("SIGTERM")
    assert worker.wait() == 0
    assert len(list(metrics.glob("counter_*"))) <= 5, "parent, two children, one that just ended, the folded ones"
    show(
        "24",
        "a handler that leaks",
        injections=len(seen) - 2,
        messages=leaks.sent,
        more=f"at most {most >> 20} MB, none ran twice",
    )


def test_the_profile_names_the_line_and_the_type_that_leak_and_no_message(
    fleet: Fleet, leaks: Leaks, ledger: Ledger, clean: RunningStack
) -> None:
    (worker,) = fleet.start_together(
        "w1", kind=Watched, **settings(child_growth_mb=4000, child_memory_mb=4000, worker_memory_mb=9000)
    )
    child, done = worker.tree()[1], threading.Event()

    def keep_sending() -> None:
        while not done.wait(0.02):
            leaks.send(10, text="leaks 20000")

    sender = threading.Thread(target=keep_sending)
    sender.start()
    try:
        command = [
            sys.executable,
            "-m",
            "workers.cli.main",
            "worker-profile",
            "--pid",
            str(child.pid),
            "--seconds",
            "5",
            "--json",
        ]
        environment = {**os.environ, **clean.environment}
        told = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120, check=False)
    finally:
        done.set()
        sender.join()
    assert told.returncode == 0, told.stderr
    report = json.loads(told.stdout)
    file, _, line = report["lines"][0]["place"].rpartition(":")
    assert Path(file).samefile(harms.__file__), report["lines"][:3]
    assert "self.payload" in Path(file).read_text().splitlines()[int(line) - 1]
    assert "tests.chaos.harms.Leaked" in [each["name"] for each in report["types"][:3]], report["types"]
    kept = Path(clean.environment["HEADRACE_DATA_DIR"]) / "profiles" / f"worker-profile-{child.pid}.json"
    assert stat.S_IMODE(kept.stat().st_mode) == 0o600
    assert "leaks 20000" not in kept.read_text()
    ledger.settle(fleet.broker.client, within=60)


class FakeContainer:
    """A cgroup file system whose numbers the test writes."""

    def __init__(self, directory: Path) -> None:
        first = ":memory:" in Path("/proc/self/cgroup").read_text()
        self.root = directory / "cgroup"
        self._level = self.root / "memory" if first else self.root
        self._level.mkdir(parents=True)
        self._limit, self._used = ("limit_in_bytes", "usage_in_bytes") if first else ("max", "current")

    def says(self, used: int, limit: int) -> None:
        (self._level / f"memory.{self._limit}").write_text(str(limit))
        (self._level / f"memory.{self._used}").write_text(str(used))


def test_a_worker_near_its_container_s_limit_drains_and_asks_to_be_started_again(
    fleet: Fleet, leaks: Leaks, ledger: Ledger, tmp_path: Path
) -> None:
    container = FakeContainer(tmp_path)
    container.says(used=100 * MB, limit=200 * MB)
    (worker,) = fleet.start_together("w1", kind=Watched, **settings(cgroup_dir=container.root, child_growth_mb=150))
    leaks.send(800)
    eventually("it has something to give back", lambda: pss(worker) > 180 * MB, within=30)
    container.says(used=190 * MB, limit=200 * MB)
    eventually("it exits, under load", lambda: leaks.send(20) or worker.status == "exited", within=30)
    assert worker.wait() == EXIT_MEMORY
    container.says(used=100 * MB, limit=200 * MB)
    worker.start()
    worker.ready()
    ledger.settle(fleet.broker.client, within=60)


class Contained(Watched):
    """The same, in a memory cgroup of its own from its first instruction."""

    level = CONTAINERS / f"headrace-test-{os.getpid()}"

    def command(self) -> list[str]:
        return ["sh", "-c", f'echo $$ > {self.level}/cgroup.procs; exec "$@"', "sh", *super().command()]


@long_form
@pytest.mark.skipif(not os.access(CONTAINERS, os.W_OK), reason="wants a memory cgroup that may be made")
def test_in_a_real_container_the_worker_stops_itself_and_the_kernel_kills_nothing(
    fleet: Fleet, leaks: Leaks, ledger: Ledger
) -> None:
    Contained.level.mkdir()
    stops = 10
    try:
        (Contained.level / "memory.limit_in_bytes").write_text(str(320 * MB))
        limits = settings(child_growth_mb=300, child_memory_mb=300, container_percent=80, batch_messages_max=10)
        (worker,) = fleet.start_together("w1", kind=Contained, **limits)
        for _ in range(stops):
            eventually("it exits, under load", lambda: leaks.send(10, "leaks 100000") or worker.status == "exited", within=60)
            assert worker.wait() == EXIT_MEMORY
            worker.start()
            worker.ready()
        ledger.settle(fleet.broker.client, within=60)
        assert "oom_kill 0" in (Contained.level / "memory.oom_control").read_text()
    finally:
        fleet.end()
        eventually("its processes are gone", lambda: not (Contained.level / "cgroup.procs").read_text())
        Contained.level.rmdir()
    show("24", "a container nearly full", injections=stops, messages=leaks.sent, more="the kernel killed nothing")


@long_form
def test_a_child_that_outgrows_the_worker_inside_of_one_batch_is_killed_and_its_neighbours_are_stored(
    fleet: Fleet, leaks: Leaks, ledger: Ledger, tmp_path: Path
) -> None:
    metrics = tmp_path / "metrics"
    metrics.mkdir()
    limits = settings(worker_memory_mb=200, child_memory_mb=150, child_growth_mb=100, metrics_dir=metrics)
    (worker,) = fleet.start_together("w1", kind=Watched, **limits)
    leaks.send(1, text=f"eats {300 * MB}")
    leaks.send(19, text="fine")
    ledger.settle(fleet.broker.client, within=60, dead={"m0"})
    assert recycled(metrics)["runaway"] >= 2, "with its neighbours, then alone until it is given up"
    assert worker.status == "running"


def test_a_process_that_is_no_worker_s_is_never_sent_the_signal() -> None:
    bystander = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    try:
        command = [sys.executable, "-m", "workers.cli.main", "worker-profile", "--pid", str(bystander.pid)]
        refused = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        assert refused.returncode == 1
        assert f"process {bystander.pid} is no process of a headrace worker" in refused.stderr
        assert psutil.Process(bystander.pid).is_running()
    finally:
        bystander.communicate(b"\n")
