"""What `headrace up` shows on a terminal: a live table of processes and queues, and the addresses."""

import threading
from collections.abc import Iterable, Mapping
from typing import Any

from rich.console import Group
from rich.live import Live
from rich.table import Table

from workers.local.lines import demo_words
from workers.local.record import FleetRecord
from workers.local.status import status

REFRESH_SECONDS = 2
"""Between two looks at memory and queues: reading the memory of all processes takes some 20 ms."""

STYLES = {"running": "green", "starting": "yellow", "waiting": "red", "draining": "cyan", "stopped": "dim"}


class Screen:
    """A table redrawn in place. A thread of its own asks the servers, so that one that hangs holds up nothing else."""

    def __init__(self, *, demo_is_known: bool) -> None:
        self._demo_is_known = demo_is_known
        self._live = Live(auto_refresh=False)
        self._record = FleetRecord()
        self._answers: dict[str, Any] = {}
        self._over = threading.Event()

    def __call__(self, record: FleetRecord) -> None:
        """Draw ``record``."""
        self._record = record
        self._live.update(drawn(record, self._answers, demo_is_known=self._demo_is_known), refresh=True)

    def __enter__(self) -> "Screen":
        self._live.start()
        threading.Thread(target=self._ask, name="status", daemon=True).start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._live.stop()

    def _ask(self) -> None:
        while not self._over.wait(REFRESH_SECONDS):
            if self._record.complete:
                self._answers = status(self._record)


def drawn(record: FleetRecord, answers: Mapping[str, Any], *, demo_is_known: bool) -> Group:
    """What the screen shows of ``record``.

    Args:
        answers: of `status`; empty before the servers were asked.
        demo_is_known: do not show the demo account's key.
    """
    return Group(_processes(record, answers), *_below(record, answers, demo_is_known=demo_is_known))


def _below(record: FleetRecord, answers: Mapping[str, Any], *, demo_is_known: bool) -> Iterable[str | Table]:
    if not record.complete:
        return
    if answers:
        yield ""
        yield _queues(answers)
    yield ""
    yield f"ingress   {record.url('INGRESS_PORT')}   docs at /docs"
    yield f"Flower    {record.url('FLOWER_PORT')}   user and password: headrace status"
    yield f"metrics   {record.url('EXPORTER_PORT')}/metrics"
    if record.demo and not demo_is_known:
        yield demo_words(record.demo)
    states = {each.state for each in record.processes}
    if states == {"stopped"}:
        yield "stopped"
    elif "stopped" in states:
        yield "draining; a second Ctrl-C hurries"
    else:
        yield "Ctrl-C drains and stops everything"


def _processes(record: FleetRecord, answers: Mapping[str, Any]) -> Table:
    memory = {each["name"]: each["pss_bytes"] for each in answers.get("processes", ())}
    table = Table("process", "pid", "state", "restarts", "memory MB", box=None, pad_edge=False)
    for each in record.processes:
        used = memory.get(each.name) if each.pid else None  # asked for now and then: it may be of a process that ended
        state = f"[{STYLES[each.state]}]{each.state}[/]"
        table.add_row(each.name, str(each.pid or "-"), state, str(each.restarts), f"{used / 2**20:.0f}" if used else "-")
    return table


def _queues(answers: Mapping[str, Any]) -> Table:
    table = Table("queue", "waiting", "in flight", "oldest s", box=None, pad_edge=False)
    for each in answers["queues"]:
        oldest = each["oldest_age_seconds"]
        table.add_row(each["name"], str(each["depth"]), str(each["in_flight"]), "-" if oldest is None else f"{oldest:.1f}")
    table.add_row("dead letters", "?" if answers["dead_letters"] is None else str(answers["dead_letters"]))
    return table
