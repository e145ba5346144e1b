"""`headrace restart`: new processes in the place of those that run, one after the other, without a gap."""

from collections.abc import Callable
from pathlib import Path
from time import sleep
from uuid import uuid4

import click

from shared.clock import monotonic_seconds
from shared.errors import HeadraceError, NotFound
from workers.cli.up import absolute, data_dir_option
from workers.local import control
from workers.local.lines import Lines
from workers.local.record import FleetRecord, RestartRecord, load

SECONDS_MAX = 600
"""For all of them; each has a bound of its own, and 32 workers take some minutes."""

POLL_SECONDS = 0.2


@click.command()
@click.argument("names", nargs=-1)
@data_dir_option
def restart(names: tuple[str, ...], data_dir: Path | None) -> None:
    """Restart every process of a running fleet, one after the other, or only NAMES, such as `ingress` or `worker-2`.

    Nothing is refused, lost or reordered meanwhile: the ingress hands its port over to the new one, a worker its lanes. The
    embedded servers stay as they are. What is installed now is what runs afterwards: so a new version is rolled out.
    """
    directory = absolute(data_dir)
    record = load(directory)
    if not record.runs():
        raise NotFound(f"no fleet runs in {directory}; mend: `headrace up`, or name its --data-dir")
    known = {each.name for each in record.processes} | {each.name.partition("-")[0] for each in record.processes}
    for name in names:
        if name not in known:
            raise click.UsageError(f"there is no {name!r}; there are {', '.join(sorted(known))}")
    request = control.Restart(uuid4().hex, list(names))
    control.ask_restart(directory, request)
    ended = wait(directory, request.id, Lines(shown=record))
    if ended.state == "failed":
        raise HeadraceError(f"stopped at one that failed: {ended.reason}")
    click.echo("every process is new" if not names else f"new: {', '.join(names)}")


def wait(directory: Path, request_id: str, show: Callable[[FleetRecord], None]) -> RestartRecord:
    """How the request ended. Raises HeadraceError when another took its place, or the fleet ends, or the time."""
    until = monotonic_seconds() + SECONDS_MAX
    while monotonic_seconds() < until:
        record = load(directory)
        show(record)
        if record.restart and record.restart.id == request_id and record.restart.state != "running":
            return record.restart
        if not record.runs():
            raise HeadraceError("the fleet was stopped meanwhile")
        if _is_replaced(directory, request_id, record):
            raise HeadraceError(
                "another restart was asked for meanwhile; mend: wait until it is done, then see `headrace status`"
            )
        sleep(POLL_SECONDS)
    raise HeadraceError(f"not done after {SECONDS_MAX} s; `headrace status` shows how far it is")


def _is_replaced(directory: Path, request_id: str, record: FleetRecord) -> bool:
    """The latest request is another's, and ours is not under way: it will not be begun, or its end can no longer be read."""
    latest = control.restart_asked(directory)
    under_way = record.restart is not None and record.restart.id == request_id
    return latest is not None and latest.id != request_id and not under_way
