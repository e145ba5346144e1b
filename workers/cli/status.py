"""`headrace status`: what runs in a data directory, where, and what waits."""

import os
from pathlib import Path

import click

from shared.errors import NotFound
from shared.settings import settings
from workers.cli.output import cell, json_option, print_json, print_records
from workers.cli.up import absolute, data_dir_option
from workers.local.record import load


@click.command()
@json_option
@data_dir_option
def status(as_json: bool, data_dir: Path | None) -> None:
    """What is running, where, and what waits. Exits 1 when no fleet runs."""
    from workers.local.status import status as ask  # noqa: PLC0415 - SQLAlchemy takes half a second

    directory = absolute(data_dir)
    record = load(directory)
    if not record.runs():
        raise NotFound(f"no fleet runs in {directory}; mend: `headrace up`, or name its --data-dir")
    os.environ.update(record.environment)  # the fleet's servers, whatever this shell's variables say
    settings.cache_clear()
    answer = ask(record)
    if as_json:
        print_json(answer)
        return
    for name in ("ready", "ingress_url", "flower_url", "flower_user", "flower_password", "metrics_url", "dead_letters"):
        click.echo(f"{name:16} {cell(answer[name])}")
    click.echo(f"{'recycles':16} {', '.join(f'{count} {reason}' for reason, count in answer['recycles'].items()) or 0}")
    click.echo()
    processes = [each | {"memory_mb": each["pss_bytes"] >> 20} for each in answer["processes"]]
    print_records(processes, ("name", "pid", "state", "restarts", "memory_mb", "health_url"), as_json=False)
    click.echo()
    print_records(answer["queues"], ("name", "depth", "in_flight", "oldest_age_seconds"), as_json=False)
