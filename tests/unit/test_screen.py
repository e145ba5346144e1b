"""What `headrace up` and `down` show: on a terminal the screen, elsewhere a line for each change."""

from io import StringIO
from typing import Any

import pytest
from rich.console import Console

from workers.local.identity import Identity, Stoppable
from workers.local.lines import Lines
from workers.local.record import DemoAccount, FleetRecord, ProcessRecord, State
from workers.local.screen import drawn

MEMORY: dict[str, Any] = {
    "processes": [{"name": "ingress", "pss_bytes": 70 * 2**20}, {"name": "beat", "pss_bytes": 40 * 2**20}],
    "queues": [{"name": "messages", "depth": 3, "in_flight": 1, "oldest_age_seconds": 0.25}],
    "dead_letters": 7,
}


def fleet(*states: State) -> FleetRecord:
    """An ingress and a beat that are in these states."""
    processes = [
        ProcessRecord(name, state, 0, 0, None if state in ("stopped", "waiting") else Stoppable(Identity(100, 1.0), 15, 1))
        for name, state in zip(("ingress", "beat"), states, strict=True)
    ]
    return FleetRecord(complete=True, demo=DemoAccount("id", "hr_key"), processes=processes)


def screen(record: FleetRecord, answers: dict[str, Any] = MEMORY, *, demo_is_known: bool = True) -> list[str]:
    """Its lines."""
    console = Console(file=StringIO(), width=100)
    console.print(drawn(record, answers, demo_is_known=demo_is_known))
    return [line.rstrip() for line in console.file.getvalue().splitlines()]  # type: ignore[attr-defined]


def test_a_running_fleet_shows_its_memory_its_queues_and_the_way_out() -> None:
    lines = screen(fleet("running", "running"))
    assert [line.split() for line in lines[:3]][1:] == [
        ["ingress", "100", "running", "0", "70"],
        ["beat", "100", "running", "0", "40"],
    ]
    assert ["messages", "3", "1", "0.2"] in [line.split() for line in lines]
    assert "dead letters  7" in lines
    assert lines[-1] == "Ctrl-C drains and stops everything"


def test_what_ended_uses_no_memory_and_a_stopped_fleet_says_so() -> None:
    draining = screen(fleet("stopped", "running"))
    assert draining[1].split() == ["ingress", "-", "stopped", "0", "-"]
    assert draining[-1] == "draining; a second Ctrl-C hurries"
    assert screen(fleet("stopped", "stopped"))[-1] == "stopped"


def test_the_demo_key_is_shown_only_to_whom_it_is_new() -> None:
    assert any("hr_key" in line for line in screen(fleet("running", "running"), demo_is_known=False))
    assert not any("hr_key" in line for line in screen(fleet("running", "running")))


def test_a_line_is_printed_for_what_changed_and_not_for_what_the_reader_knows(capsys: pytest.CaptureFixture[str]) -> None:
    running = fleet("running", "running")
    show = Lines(shown=running)
    show(running)
    assert capsys.readouterr().out == ""
    show(fleet("stopped", "running"))
    assert [line.split(maxsplit=1)[1] for line in capsys.readouterr().out.splitlines()] == ["ingress   stopped"]
