"""The supervisor over stub programs: real processes, none of ours."""

import os
import signal
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest

from tests.waiting import eventually
from workers.local import leftovers
from workers.local.identity import Identity, identity_of
from workers.local.program import EDGE, FLEET, SERVERS, Program
from workers.local.record import FleetRecord, load
from workers.local.signals import Signals
from workers.local.supervisor import StartFailed, Supervisor

SLEEP = "import signal; signal.pause()"
PARENT = f"""
import subprocess, sys
print(subprocess.Popen([sys.executable, "-S", "-c", {SLEEP!r}]).pid, flush=True)
"""
STUBBORN = """
import signal
signal.signal(signal.SIGTERM, signal.SIG_IGN)
print("up", flush=True)
while True:
    signal.pause()
"""
GOODBYE = """
import pathlib, signal, sys
def end(*_):
    with open({order!r}, "a") as order:
        order.write({name!r} + " ")
    sys.exit()
signal.signal(signal.SIGTERM, end)
pathlib.Path({ready!r}).touch()
signal.pause()
"""


def program(name: str, code: str, *, is_ready: Callable[[], bool] = lambda: True, **more: object) -> Program:
    return Program(name, (sys.executable, "-S", "-c", code), os.environ, is_ready, **more)  # type: ignore[arg-type]


@pytest.fixture
def signals() -> Iterator[Signals]:
    with Signals() as it:
        yield it


@pytest.fixture
def supervisor(tmp_path: Path, signals: Signals) -> Iterator[Supervisor]:
    it = Supervisor(tmp_path, FleetRecord(), signals)
    yield it
    signals.count = 2  # whatever a test left running ends at once
    it.stop()


def pid_of(name: str, data_dir: Path) -> int | None:
    return next(each.pid for each in load(data_dir).processes if each.name == name)


def log_of(name: str, data_dir: Path) -> str:
    return (data_dir / "logs" / f"{name}.log").read_text()


def test_a_program_that_dies_is_started_again_and_its_restart_counted(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([program("sleeper", SLEEP)])
    assert supervisor.wait_ready(10)
    first = pid_of("sleeper", tmp_path)
    assert first
    os.kill(first, signal.SIGKILL)

    def again() -> bool:
        supervisor.look()
        return pid_of("sleeper", tmp_path) not in (None, first)

    eventually("it runs again", again)
    (record,) = load(tmp_path).processes
    assert (record.restarts, record.last_exit) == (1, -signal.SIGKILL)


def test_a_program_that_keeps_ending_fails_the_start_with_the_end_of_its_log(supervisor: Supervisor) -> None:
    supervisor.start([program("broken", "print('the cause'); raise SystemExit(3)", is_ready=lambda: False)])
    with pytest.raises(StartFailed, match=r"broken keeps ending; its log is .*broken\.log and ends:\nthe cause"):
        supervisor.wait_ready(30)


def test_a_program_that_cannot_be_executed_fails_the_start_and_says_so(supervisor: Supervisor) -> None:
    supervisor.start([Program("absent", ("/no/such/program",), {}, lambda: True)])
    with pytest.raises(StartFailed, match=r"absent keeps ending(.|\n)*/no/such/program cannot be started: No such file"):
        supervisor.wait_ready(30)


def test_a_program_that_never_gets_ready_fails_the_start(supervisor: Supervisor) -> None:
    supervisor.start([program("slow", SLEEP, is_ready=lambda: False)])
    with pytest.raises(StartFailed, match="slow is not ready after 0 s"):
        supervisor.wait_ready(0.2)


def test_a_stop_signal_ends_the_wait_for_readiness(supervisor: Supervisor, signals: Signals) -> None:
    supervisor.start([program("slow", SLEEP, is_ready=lambda: False)])
    os.kill(os.getpid(), signal.SIGTERM)
    assert not supervisor.wait_ready(30)
    assert signals.count == 1


def test_stages_end_one_after_the_other(supervisor: Supervisor, tmp_path: Path) -> None:
    def saying(name: str, stage: int) -> Program:
        ready = tmp_path / f"{name}.ready"
        code = GOODBYE.format(order=str(tmp_path / "order"), name=name, ready=str(ready))
        return program(name, code, is_ready=ready.exists, stop_stage=stage)

    supervisor.start([saying("server", SERVERS), saying("worker", FLEET), saying("edge", EDGE)])
    assert supervisor.wait_ready(20)
    supervisor.stop()
    assert (tmp_path / "order").read_text().split() == ["edge", "worker", "server"]
    assert [each.state for each in load(tmp_path).processes] == ["stopped"] * 3


def test_what_ignores_the_signal_is_killed_after_its_bound_with_all_it_started(supervisor: Supervisor, tmp_path: Path) -> None:
    code = PARENT + STUBBORN
    supervisor.start([program("parent", code, is_ready=lambda: "up" in log_of("parent", tmp_path), stop_seconds=0.3)])
    assert supervisor.wait_ready(20)
    parent, grandchild = pid_of("parent", tmp_path), int(log_of("parent", tmp_path).split()[0])
    assert psutil.pid_exists(grandchild)
    supervisor.stop()
    assert not psutil.pid_exists(parent or 0)
    assert not psutil.pid_exists(grandchild)


def test_a_second_signal_cuts_the_drain_short(supervisor: Supervisor, signals: Signals, tmp_path: Path) -> None:
    stubborn = program("stubborn", STUBBORN, is_ready=lambda: "up" in log_of("stubborn", tmp_path), stop_seconds=600)
    supervisor.start([program("server", SLEEP, stop_stage=SERVERS), stubborn])
    assert supervisor.wait_ready(20)
    signals.count = 2
    supervisor.stop()  # would time out otherwise
    assert [each.pid for each in load(tmp_path).processes] == [None, None]


def test_the_orphans_of_a_dead_program_end_before_it_starts_again(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([program("parent", PARENT + SLEEP, is_ready=lambda: "\n" in log_of("parent", tmp_path))])
    assert supervisor.wait_ready(20)
    orphan = int(log_of("parent", tmp_path))
    os.kill(pid_of("parent", tmp_path) or 0, signal.SIGKILL)

    def noticed() -> bool:
        supervisor.look()
        return load(tmp_path).processes[0].state == "waiting"

    eventually("its death is noticed", noticed)
    assert not psutil.pid_exists(orphan)


def test_what_a_killed_supervisor_left_behind_is_ended_by_the_record(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([program("server", SLEEP, stop_stage=SERVERS), program("worker", SLEEP)])
    assert supervisor.wait_ready(20)
    left = [each.process.identity for each in load(tmp_path).processes if each.process]
    assert leftovers.end_all(load(tmp_path)) == 2
    assert [identity.find() for identity in left] == [None, None]
    assert leftovers.end_all(load(tmp_path)) == 0


def test_a_pid_that_was_given_to_another_process_is_not_taken_for_it(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([program("innocent", SLEEP)])
    assert supervisor.wait_ready(20)
    innocent = pid_of("innocent", tmp_path) or 0
    record = load(tmp_path)
    process = record.processes[0].process
    assert process
    earlier = Identity(innocent, identity_of(innocent).started - 100)
    record.processes[0].process = type(process)(earlier, process.stop_signal, process.stop_seconds)
    assert leftovers.end_all(record) == 0
    assert identity_of(innocent).find()


def test_the_record_is_for_our_eyes_only(supervisor: Supervisor, tmp_path: Path) -> None:
    supervisor.start([program("sleeper", SLEEP)])
    assert (tmp_path / "fleet.json").stat().st_mode & 0o777 == 0o600
    assert (tmp_path / "logs" / "sleeper.log").stat().st_mode & 0o777 == 0o600
