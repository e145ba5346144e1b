"""`headrace load`: open-loop load on a running fleet, then the account of every message."""

from pathlib import Path

import click
import orjson
from rich.console import Console

from loadgen import run as loadgen_run
from loadgen.pacer import DURATION_SECONDS_MAX, MESSAGES_MAX, RATE_MAX
from loadgen.scenario import CONVERSATIONS_MAX, CONVERSATIONS_MIN, conversations_for
from loadgen.senders import VIAS
from loadgen.tenants import ACCOUNTS_MAX
from shared.errors import HeadraceError
from shared.settings import settings
from workers.cli.family import Family

PATIENCE_MARGIN_SECONDS = 30
"""On top of how long a dead worker's messages hide."""


@click.group(cls=Family)
def load() -> None:
    """Load a running fleet and account for every message."""


@load.command()
@click.option("--rate", type=click.FloatRange(1, RATE_MAX), default=600, show_default=True, help="Messages a second.")
@click.option(
    "--duration", type=click.FloatRange(1, DURATION_SECONDS_MAX), default=60, show_default=True, help="Seconds of sending."
)
@click.option("--via", type=click.Choice(VIAS), default="webhook", show_default=True, help="The way in.")
@click.option("--seed", type=int, default=1, show_default=True, help="The same seed sends the same messages.")
@click.option(
    "--accounts", type=click.IntRange(1, ACCOUNTS_MAX), default=10, show_default=True, help="Accounts of the run's own."
)
@click.option(
    "--conversations", type=click.IntRange(CONVERSATIONS_MIN, CONVERSATIONS_MAX), help="In all; two for each message a second."
)
@click.option(
    "--patience",
    type=click.FloatRange(1, 3600),
    help="Seconds without progress after which what is not stored counts as lost; longer than a dead worker's messages hide.",
)
@click.option("--keep", is_flag=True, help="Leave the run's accounts and messages in place.")
@click.option(
    "--json", "json_file", type=click.Path(path_type=Path, dir_okay=False, writable=True), help="Write everything here."
)
def run(
    *,
    rate: float,
    duration: float,
    via: str,
    seed: int,
    accounts: int,
    conversations: int | None,
    patience: float | None,
    keep: bool,
    json_file: Path | None,
) -> None:
    """Send on a schedule, then account for every message.

    The schedule is open-loop: it does not wait for answers. Afterwards it waits until the fleet has settled everything. Exits 1
    when a message was lost, duplicated or reordered. Ctrl-C ends the sending, a second one the waiting.
    """
    if rate * duration > MESSAGES_MAX:
        raise click.UsageError(f"{rate:g}/s for {duration:g} s is more than {MESSAGES_MAX:,} messages; lower --duration")
    if json_file and not json_file.parent.is_dir():
        raise click.UsageError(f"--json: there is no directory {json_file.parent}")
    report = loadgen_run.run(
        loadgen_run.Plan(
            rate=rate,
            duration_seconds=duration,
            via=via,
            seed=seed,
            accounts=accounts,
            conversations=conversations or conversations_for(rate),
            patience_seconds=patience or 2 * settings().lease_seconds + PATIENCE_MARGIN_SECONDS,
            keep=keep,
        )
    )
    console = Console()
    for table in report.as_tables():
        console.print(table)
    if json_file:
        json_file.write_bytes(orjson.dumps(report.as_json(), option=orjson.OPT_INDENT_2 | orjson.OPT_APPEND_NEWLINE))
    if faults := report.faults():
        raise HeadraceError(", ".join(faults))
