"""`headrace worker-profile`: which line and which type make a process of a worker grow."""

import os
import time
from pathlib import Path
from typing import Any

import click
import msgspec
import psutil

from shared.errors import HeadraceError, NotFound
from workers.cli.output import json_option, print_json
from workers.cli.up import absolute, data_dir_option
from workers.local.identity import family
from workers.local.record import load

REPORT_SECONDS_MAX = 60
"""From the end of the measurement to its report: comparing 100,000 places takes some seconds on a busy machine."""
POLL_SECONDS = 0.1


@click.command(name="worker-profile")
@click.option("--pid", type=click.IntRange(2), help="The process; default: the largest child of a worker of this fleet.")
@click.option("--seconds", type=click.IntRange(5, 600), default=30, show_default=True, help="How long to watch it.")
@data_dir_option
@json_option
def worker_profile(pid: int | None, seconds: int, data_dir: Path | None, as_json: bool) -> None:
    """Which lines and types make a worker's process grow.

    Traces every allocation of one process while it works, and compares its memory in the middle with the end: what only fills
    up at first is no growth. A worker's parent remembers each batch for a minute, so watch it for 150 seconds or more. The
    process is two to three times slower meanwhile. The report holds places, types and counts, never a message.

    Without this command: `kill -USR2 PID`, wait, `kill -USR2 PID`; the report is profiles/worker-profile-PID.json in the data
    directory of the worker.
    """
    from workers.memory.profile import SIGNAL, Report, report_file  # noqa: PLC0415 - loads Celery

    directory = absolute(data_dir)
    process = _checked(pid or _largest_child(directory), SIGNAL)
    file = report_file(directory, process.pid)
    file.unlink(missing_ok=True)
    _signal(process, SIGNAL)
    _wait(process, seconds, file)
    if not file.exists():
        _signal(process, SIGNAL)
        _wait(process, REPORT_SECONDS_MAX, file)
    if not file.exists():
        raise HeadraceError(f"process {process.pid} wrote no {file}; mend: name the worker's --data-dir, or see its log")
    report = msgspec.json.decode(file.read_bytes(), type=Report)
    if as_json:
        print_json(msgspec.to_builtins(report))
    else:
        _print(msgspec.to_builtins(report), file)


def _largest_child(directory: Path) -> int:
    """Of the workers of the fleet that runs in ``directory``."""
    from workers.memory.pss import pss_bytes  # noqa: PLC0415

    record = load(directory)
    workers = [each.process for each in record.processes if each.name.startswith("worker") and each.process]
    children: list[int] = [each.pid for worker in workers for each in family(worker.identity)[1:]]
    if not children:
        raise NotFound(f"no worker of {directory} runs; mend: `headrace up`, name its --data-dir, or a worker's --pid")
    return max(children, key=lambda pid: pss_bytes(pid) or 0)


def _checked(pid: int, number: int) -> psutil.Process:
    """The process, if it listens to the signal; to any other it would be death."""
    try:
        process = psutil.Process(pid)
        caught = next(line for line in Path(f"/proc/{pid}/status").read_text().splitlines() if line.startswith("SigCgt:"))
        listens = int(caught.split()[1], 16) >> (number - 1) & 1 and "worker" in process.cmdline()
    except (psutil.NoSuchProcess, FileNotFoundError, ProcessLookupError):
        raise NotFound(f"there is no process {pid}; mend: `headrace status` shows the fleet's") from None
    if not listens:
        raise HeadraceError(f"process {pid} is no process of a headrace worker; mend: `headrace status` shows the fleet's")
    return process


def _signal(process: psutil.Process, number: int) -> None:
    try:
        os.kill(process.pid, number)
    except ProcessLookupError:
        raise _ended(process) from None
    except PermissionError:
        raise HeadraceError(f"process {process.pid} belongs to another user; mend: run this as that user") from None


def _wait(process: psutil.Process, seconds: float, file: Path) -> None:
    """Until the report is there, at most ``seconds``. Raises when the process ends."""
    until = time.monotonic() + seconds
    while time.monotonic() < until and not file.is_file():
        if not process.is_running() or process.status() == psutil.STATUS_ZOMBIE:
            raise _ended(process)
        time.sleep(POLL_SECONDS)


def _ended(process: psutil.Process) -> HeadraceError:
    return HeadraceError(
        f"process {process.pid} ended meanwhile, perhaps replaced for its memory; mend: measure with higher"
        " HEADRACE_CHILD_MEMORY_MB, HEADRACE_CHILD_GROWTH_MB and HEADRACE_WORKER_MEMORY_MB"
    )


def _print(report: dict[str, Any], file: Path) -> None:
    def mb(size: int) -> str:
        return f"{size / 2**20:,.1f} MB"

    before, after, traced, traced_after = (
        mb(report[name]) for name in ("pss_bytes_before", "pss_bytes_after", "traced_bytes_before", "traced_bytes_after")
    )
    click.echo(f"process {report['pid']} in {report['seconds']:.0f} s: {before} -> {after}")
    click.echo(f"of what was allocated meanwhile, there is {traced} -> {traced_after}")
    click.echo("\nlines that hold more than before")
    for line in report["lines"]:
        caller = f"  from {line['called_from']}" if line["called_from"] else ""
        click.echo(f"{line['bytes'] / 1024:+12,.1f} KB {line['blocks']:+9,}  {line['place']}{caller}")
    click.echo("\ntypes of which there are more (containers; what strings and bytes grow by is in the lines)")
    for each in report["types"]:
        click.echo(f"{each['more']:+12,}  {each['name']}")
    click.echo(f"\nkept in {file}")
