"""What `headrace up` prints where there is no terminal: one line a change."""

import click

from shared.clock import utc_now
from workers.local.record import DemoAccount, FleetRecord, ProcessRecord


class Lines:
    """A line for each process whose state changed. Also the progress of ``up --detach`` and of ``down``.

    Args:
        demo_is_known: do not show the demo account's key.
        shown: what needs no line, because the reader knows it.
    """

    def __init__(self, *, demo_is_known: bool = True, shown: FleetRecord | None = None) -> None:
        known = shown or FleetRecord()
        self._demo_is_known = demo_is_known
        self._shown = {each.name: (each.state, each.restarts) for each in known.processes}
        self._ready = known.ready

    def __call__(self, record: FleetRecord) -> None:
        """Print what is new in ``record``."""
        for process in record.processes:
            if self._shown.get(process.name) != (process.state, process.restarts):
                self._shown[process.name] = (process.state, process.restarts)
                self._say(f"{process.name:9} {_words(process)}")
        if record.demo and not self._demo_is_known:
            self._demo_is_known = True
            self._say(demo_words(record.demo))
        if record.ready and not self._ready:
            self._say(f"ready     {record.url('INGRESS_PORT')}, Flower {record.url('FLOWER_PORT')}")
        self._ready = record.ready

    def _say(self, line: str) -> None:
        click.echo(f"{utc_now():%H:%M:%S} {line}")


def demo_words(demo: DemoAccount) -> str:
    """The one time that the key is shown."""
    return f"account   demo, API key {demo.api_key} (shown this once)"


def _words(process: ProcessRecord) -> str:
    if process.state == "waiting":
        if process.last_exit is None:
            return "waits for the old one to end"
        return f"ended with {_exit_words(process.last_exit)}; it starts again"
    again = f", restarts {process.restarts}" if process.restarts else ""
    return f"{process.state} (pid {process.pid}{again})" if process.pid else process.state


def _exit_words(status_: int) -> str:
    return f"signal {-status_}" if status_ < 0 else f"status {status_}"
