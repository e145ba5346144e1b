"""`headrace restart` and `headrace up --workers-max`: what they refuse; and what a supervisor makes of what it is asked."""

import os
import threading
from pathlib import Path

import pytest

from shared.errors import HeadraceError
from tests.command_line import CommandLine
from workers.cli.restart import wait
from workers.local import control
from workers.local.identity import identity_of
from workers.local.record import FleetRecord, ProcessRecord, RestartRecord, save


@pytest.fixture
def headrace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def fleet(tmp_path: Path) -> Path:
    """A data directory whose supervisor, this process, lives."""
    save(running(), tmp_path)
    control.prepare(tmp_path)
    return tmp_path


def running(restart: RestartRecord | None = None) -> FleetRecord:
    names = ("ingress", "worker-1", "worker-2")
    processes = [ProcessRecord(name, "running", 0, 1, None) for name in names]
    return FleetRecord(supervisor=identity_of(os.getpid()), complete=True, processes=processes, restart=restart)


def test_where_no_fleet_runs_one_line_says_so(headrace: CommandLine, tmp_path: Path) -> None:
    ended = headrace("restart", "--data-dir", tmp_path)
    assert (ended.code, ended.err) == (1, f"headrace: no fleet runs in {tmp_path}; mend: `headrace up`, or name its --data-dir\n")


def test_a_name_that_is_no_process_is_wrong_usage_and_those_that_are_are_listed(headrace: CommandLine, fleet: Path) -> None:
    ended = headrace("restart", "ingres", "--data-dir", fleet)
    assert ended.code == 2
    assert "there is no 'ingres'; there are ingress, worker, worker-1, worker-2" in ended.err
    assert control.restart_asked(fleet) is None


def test_it_returns_when_the_supervisor_has_answered_its_own_request(headrace: CommandLine, fleet: Path) -> None:
    def supervise() -> None:
        pause = threading.Event()
        while (asked := control.restart_asked(fleet)) is None:
            pause.wait(0.01)
        save(running(RestartRecord("another's", "done")), fleet)
        save(running(RestartRecord(asked.id, "failed", "worker-1 did not become ready")), fleet)

    supervisor = threading.Thread(target=supervise)
    supervisor.start()
    ended = headrace("restart", "worker", "--data-dir", fleet)
    supervisor.join(10)
    assert (ended.code, ended.err) == (1, "headrace: stopped at one that failed: worker-1 did not become ready\n")


def test_a_fleet_that_ends_meanwhile_ends_the_wait(tmp_path: Path) -> None:
    save(FleetRecord(), tmp_path)
    with pytest.raises(HeadraceError, match="the fleet was stopped meanwhile"):
        wait(tmp_path, "r-1", lambda _: None)


def test_fewer_workers_at_most_than_at_least_is_wrong_usage(headrace: CommandLine, tmp_path: Path) -> None:
    ended = headrace("up", "--workers", 3, "--workers-max", 2, "--data-dir", tmp_path / "fleet")
    assert ended.code == 2
    assert "--workers-max 2 is less than --workers 3" in ended.err
    assert not (tmp_path / "fleet").exists()


def test_what_is_asked_is_read_back_and_garbage_asks_nothing(fleet: Path) -> None:
    assert control.wanted_workers(fleet) is None
    control.want_workers(fleet, 3)
    assert control.wanted_workers(fleet) == 3
    (fleet / "control" / "workers").write_bytes(b"\xff{")
    assert control.wanted_workers(fleet) is None
    control.prepare(fleet)
    assert list((fleet / "control").iterdir()) == []


def test_a_request_that_another_took_the_place_of_says_so_and_does_not_wait(headrace: CommandLine, fleet: Path) -> None:
    def another_asks() -> None:
        pause = threading.Event()
        while control.restart_asked(fleet) is None:
            pause.wait(0.01)
        control.ask_restart(fleet, control.Restart("another's"))

    other = threading.Thread(target=another_asks)
    other.start()
    ended = headrace("restart", "--data-dir", fleet)
    other.join(10)
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "another restart was asked for meanwhile" in ended.err
