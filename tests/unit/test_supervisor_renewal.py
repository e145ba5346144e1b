"""Scaling and rolling restarts of the supervisor, over stub programs."""

import os
import signal
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.waiting import eventually
from workers.local import control
from workers.local.control import Restart
from workers.local.program import SERVERS, Program
from workers.local.record import FleetRecord, ProcessRecord, load
from workers.local.signals import Signals
from workers.local.supervisor import Supervisor

WORKER = """
import pathlib, signal, sys
ready, order, name = map(pathlib.Path, sys.argv[1:])
def end(*_):
    with order.open("a") as file:
        file.write(f"{name} ends ready={ready.exists()}\\n")
    sys.exit()
signal.signal(signal.SIGTERM, end)
ready.touch()
signal.pause()
"""
BROKEN = "raise SystemExit(3)"


class Stage:
    """A supervisor and what its programs wrote."""

    def __init__(self, directory: Path, signals: Signals) -> None:
        self.directory = directory
        self.supervisor = Supervisor(directory, FleetRecord(), signals)
        self.code = WORKER

    def program(self, name: str, *, overlaps: bool = True, stage: int = 1) -> Program:
        ready = self.directory / f"{name}.ready"
        command = (sys.executable, "-S", "-c", self.code, str(ready), str(self.directory / "order"), name)
        return Program(
            name,
            command,
            os.environ,
            ready.exists,
            before_start=lambda: ready.unlink(missing_ok=True),
            stop_stage=stage,
            overlaps=overlaps,
        )

    def records(self) -> dict[str, ProcessRecord]:
        self.supervisor.look()
        return {each.name: each for each in load(self.directory).processes}

    def pids(self) -> dict[str, int | None]:
        return {name: each.pid for name, each in self.records().items()}

    def running(self) -> list[str]:
        """Names, when nothing is on its way in or out."""
        found = self.records()
        return sorted(found) if all(each.state == "running" for each in found.values()) else []

    def up(self, *programs: Program) -> None:
        self.supervisor.start(programs)
        assert self.supervisor.wait_ready(20)
        self.supervisor.complete()

    def restart(self, *names: str) -> str:
        """Ask, and wait for the end: the state."""
        control.ask_restart(self.directory, Restart(f"r-{os.urandom(4).hex()}", list(names)))
        asked = control.restart_asked(self.directory)

        def over() -> str:
            self.supervisor.look()
            found = load(self.directory).restart
            return found.state if found and asked and found.id == asked.id and found.state != "running" else ""

        return eventually("the restart is over", over, within=40)


@pytest.fixture
def stage(tmp_path: Path) -> Iterator[Stage]:
    with Signals() as signals:
        it = Stage(tmp_path, signals)
        yield it
        signals.count = 2
        it.supervisor.stop()


def test_as_many_workers_run_as_are_wanted_within_the_bounds(stage: Stage) -> None:
    stage.supervisor.start_pool(lambda number: stage.program(f"worker-{number}"), 1, 3)
    stage.up()
    for wanted, there in ((3, 3), (9, 3), (2, 2), (0, 1)):
        control.want_workers(stage.directory, wanted)
        names = [f"worker-{number}" for number in range(1, there + 1)]
        eventually(f"{there} run", lambda names=names: stage.running() == names)


def test_a_worker_that_is_let_go_is_asked_to_drain_and_not_started_again(stage: Stage) -> None:
    stage.supervisor.start_pool(lambda number: stage.program(f"worker-{number}"), 1, 2)
    stage.up()
    control.want_workers(stage.directory, 2)
    eventually("two run", lambda: len(stage.running()) == 2)
    control.want_workers(stage.directory, 1)
    eventually("one runs", lambda: stage.running() == ["worker-1"])
    assert (stage.directory / "order").read_text().splitlines() == ["worker-2 ends ready=True"]


def test_a_fleet_is_ready_while_a_further_worker_starts_or_drains(stage: Stage) -> None:
    stage.supervisor.start_pool(lambda number: stage.program(f"worker-{number}"), 1, 2)
    stage.up()
    control.want_workers(stage.directory, 2)

    def both() -> bool:
        names = stage.running()
        assert load(stage.directory).ready
        return len(names) == 2

    eventually("two run", both)


def test_a_restart_renews_every_process_but_the_servers_and_the_old_one_goes_when_the_new_one_is_ready(stage: Stage) -> None:
    stage.up(
        stage.program("server", stage=SERVERS),
        stage.program("ingress"),
        stage.program("beat", overlaps=False),
        stage.program("worker-1"),
    )
    before = stage.pids()
    assert stage.restart() == "done"
    after = stage.pids()
    assert after["server"] == before["server"]
    assert list(after) == list(before)
    assert all(after[name] != before[name] for name in ("ingress", "beat", "worker-1"))
    order = (stage.directory / "order").read_text().splitlines()
    assert order == ["ingress ends ready=True", "beat ends ready=True", "worker-1 ends ready=True"]
    assert all(each.restarts == 0 for each in stage.records().values())


def test_only_what_is_named_is_renewed(stage: Stage) -> None:
    stage.up(stage.program("ingress"), stage.program("worker-1"), stage.program("worker-2"))
    before = stage.pids()
    assert stage.restart("worker") == "done"
    after = stage.pids()
    assert [name for name in after if after[name] != before[name]] == ["worker-1", "worker-2"]


def test_a_new_process_that_does_not_come_up_stops_the_restart_and_the_old_ones_go_on(
    stage: Stage, monkeypatch: pytest.MonkeyPatch
) -> None:
    stage.up(stage.program("ingress"), stage.program("worker-1"))
    before = stage.pids()
    from workers.local import member

    started = member.Child

    def broken(program: Program, log: Path) -> object:
        command = (sys.executable, "-S", "-c", BROKEN)
        from dataclasses import replace

        return started(replace(program, command=command), log)

    monkeypatch.setattr(member, "Child", broken)
    assert stage.restart() == "failed"
    assert stage.pids() == before
    found = load(stage.directory).restart
    assert found
    assert found.reason.startswith("ingress did not become ready; the old one goes on; see ")


def test_an_old_process_that_does_not_end_is_killed_after_its_bound(stage: Stage) -> None:
    from dataclasses import replace

    stubborn = "import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN)\n" + WORKER.replace(
        "signal.SIGTERM, end", "signal.SIGUSR1, end"
    )
    stage.code = stubborn.replace("signal.pause()", "\nwhile True: signal.pause()")
    stage.up(replace(stage.program("worker-1"), stop_seconds=0.3))
    before = stage.pids()["worker-1"]
    assert stage.restart() == "done"
    assert stage.pids()["worker-1"] != before
    assert before
    with pytest.raises(ProcessLookupError):
        os.kill(before, signal.SIGCONT)


def test_a_restart_that_is_asked_for_during_the_start_is_done_after_it_to_all(stage: Stage) -> None:
    stage.supervisor.start([stage.program("first")])
    control.ask_restart(stage.directory, Restart("r-early"))
    stage.supervisor.look()
    assert load(stage.directory).restart is None
    stage.up(stage.program("second"))
    before = {each.name: each.pid for each in load(stage.directory).processes}

    def done() -> bool:
        stage.supervisor.look()
        restart = load(stage.directory).restart
        return restart is not None and (restart.id, restart.state) == ("r-early", "done")

    eventually("the restart is done", done, within=40)
    after = stage.pids()
    assert after.keys() == before.keys() == {"first", "second"}
    assert all(after[name] != before[name] for name in before)
