"""`headrace up` and `headrace down`: the whole fleet of a data directory."""

import sys
from functools import partial
from pathlib import Path

import click

from shared.settings import settings
from workers.local import detached, fleet, shutdown
from workers.local.data_dir import make
from workers.local.lines import Lines
from workers.local.plan import PORT
from workers.local.record import load

data_dir_option = click.option(
    "--data-dir",
    type=click.Path(path_type=Path, file_okay=False),
    help="Holds every file of the fleet.  [default: .headrace]",
)


def absolute(data_dir: Path | None) -> Path:
    """The data directory that was named, else that of the settings, from the root."""
    return (data_dir or settings().data_dir).absolute()


@click.command()
@click.option("--detach", is_flag=True, help="Return once everything is ready; `headrace down` stops it.")
@data_dir_option
@click.option(
    "--port",
    type=click.IntRange(1, 65533),
    help=f"N for the ingress, N+1 for the exporter, N+2 for Flower.  [default: {PORT}, {PORT + 1} and 5555]",
)
@click.option("--workers", type=click.IntRange(1, 32), default=1, show_default=True, help="Store workers, at least.")
@click.option(
    "--workers-max", type=click.IntRange(1, 32), help="At most: with more than --workers the fleet grows and shrinks by itself."
)
def up(detach: bool, data_dir: Path | None, port: int | None, workers: int, workers_max: int | None) -> None:
    """Start the whole fleet here and show it live; Ctrl-C drains and stops everything, a second one hurries.

    Postgres and Redis are embedded unless HEADRACE_DATABASE_URL, HEADRACE_BROKER_URL or HEADRACE_CACHE_URL name others.
    """
    if workers_max is not None and workers_max < workers:
        raise click.UsageError(f"--workers-max {workers_max} is less than --workers {workers}")
    directory = absolute(data_dir)
    make(directory)
    demo_is_known = load(directory).demo is not None
    run = partial(fleet.run, directory, port, fleet.Size(workers, workers_max or workers))
    if detach:
        # The one that stays writes to a log, where a key does not belong.
        detached.detach(partial(run, Lines()), directory, Lines(demo_is_known=demo_is_known))
        elsewhere = f" --data-dir {data_dir}" if data_dir and data_dir.absolute() != settings().data_dir.absolute() else ""
        click.echo(f"`headrace status{elsewhere}` shows it, `headrace down{elsewhere}` stops it")
        if elsewhere:
            click.echo(f"the other commands find it by HEADRACE_DATA_DIR={data_dir}")
        return
    if not sys.stdout.isatty():
        run(Lines(demo_is_known=demo_is_known))
        return
    from workers.local.screen import Screen  # noqa: PLC0415 - what it shows takes a second to load

    with Screen(demo_is_known=demo_is_known) as show:
        run(show)


@click.command()
@data_dir_option
def down(data_dir: Path | None) -> None:
    """Drain and stop the fleet of a data directory; done once no process of it is left."""
    directory = absolute(data_dir)
    stopped = shutdown.stop(directory, Lines(shown=load(directory)))
    click.echo("stopped" if stopped else f"nothing was running in {directory}")
