"""`headrace autoscaler`: how many store workers there should be; and what it would have done under recorded load."""

import signal
import threading
from pathlib import Path

import click

from shared.errors import ConfigurationError
from shared.settings import settings
from workers.cli.family import Family
from workers.cli.output import json_option, print_json


@click.group(cls=Family, invoke_without_command=True)
@click.option(
    "--actuator",
    type=click.Choice(["local", "none"]),
    default="local",
    show_default=True,
    help="Who is told: the fleet of the data directory, or nobody, for KEDA reads headrace_autoscaler_target.",
)
@click.pass_context
def autoscaler(context: click.Context, actuator: str) -> None:
    """The autoscaler in the foreground: it has as many store workers run as the load needs.

    It grows at once by as many as are needed and shrinks one by one once fewer have sufficed for two minutes, between
    HEADRACE_AUTOSCALER_WORKERS_MIN and HEADRACE_AUTOSCALER_WORKERS_MAX. Run one of it; `headrace up --workers-max N` does.
    """
    if context.invoked_subcommand:
        return
    from shared import log  # noqa: PLC0415 - `--help` loads neither logging nor Redis
    from shared.redis_client import connect  # noqa: PLC0415
    from workers.autoscaler.actuators import LocalFleet, Nobody  # noqa: PLC0415
    from workers.autoscaler.loop import Autoscaler  # noqa: PLC0415

    config = settings()
    if config.autoscaler_workers_max < config.autoscaler_workers_min:
        raise ConfigurationError("HEADRACE_AUTOSCALER_WORKERS_MAX is less than HEADRACE_AUTOSCALER_WORKERS_MIN; raise it")
    log.configure("autoscaler")
    broker = connect(config.required("broker_url"), timeout=config.broker_timeout_seconds, master=config.broker_master)
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    told = LocalFleet(config.data_dir, config.autoscaler_memory_reserve_mb * 2**20) if actuator == "local" else Nobody()
    Autoscaler(config, broker, told).run(stop)


@autoscaler.command()
@click.option(
    "--load",
    "load_file",
    required=True,
    type=click.Path(path_type=Path, dir_okay=False, exists=True),
    help="Messages a second: a JSON array, or CSV with the number last.",
)
@click.option(
    "--step", type=click.IntRange(1, 3600), default=1, show_default=True, help="Seconds that each number lasts: 15 of a scrape."
)
@click.option(
    "--service", type=click.FloatRange(1, 100_000), default=300, show_default=True, help="Messages a second of a worker."
)
@click.option("--start", type=click.IntRange(1, 600), default=5, show_default=True, help="Seconds until a new worker consumes.")
@click.option("--min", "least", type=click.IntRange(1, 256), default=1, show_default=True, help="Workers at least.")
@click.option("--max", "most", type=click.IntRange(1, 256), default=8, show_default=True, help="Workers at most.")
@click.option("--svg", type=click.Path(path_type=Path, dir_okay=False, writable=True), help="Draw it here.")
@json_option
def simulate(
    *, load_file: Path, step: int, service: float, start: int, least: int, most: int, svg: Path | None, as_json: bool
) -> None:
    """Replay recorded load against the policy, without any server, and draw what it would have done."""
    from workers.autoscaler import drawing, replay  # noqa: PLC0415
    from workers.autoscaler.policy import Bounds  # noqa: PLC0415
    from workers.autoscaler.simulator import Model, simulate, turns  # noqa: PLC0415
    from workers.autoscaler.tuning import tuned  # noqa: PLC0415

    if most < least:
        raise click.UsageError(f"--max {most} is less than --min {least}")
    if svg and not svg.parent.is_dir():
        raise click.UsageError(f"--svg: there is no directory {svg.parent}")
    tuning = tuned(settings().autoscaler_drain_seconds, settings().autoscaler_stable_seconds)
    run = simulate(replay.read(load_file, step), Model(service, start), Bounds(least, most), tuning)
    found = {
        "seconds": len(run),
        "messages": sum(second.arrivals for second in run),
        "workers_max": max(second.workers for second in run),
        "worker_seconds": sum(second.workers for second in run),
        "lag_seconds_max": max(second.lag_seconds for second in run),
        "turns": turns(run),
        "backlog_left": run[-1].backlog,
    }
    if svg:
        svg.write_text(drawing.as_svg(run))
    if as_json:
        print_json({**found, "run": [second._asdict() for second in run]})
        return
    for line in drawing.for_terminal(run):
        click.echo(line)
    for name, value in found.items():
        click.echo(f"{name.replace('_', ' '):16} {value:,}")
