"""`headrace queue`: what waits, and pausing it fleet-wide. A paused queue keeps accepting and is not consumed."""

import click
import redis

from shared import pause as pauses
from shared.errors import NotFound
from shared.redis_client import connect
from shared.settings import settings
from shared.topology import QUEUES
from workers.cli.output import did_you_mean, json_option, print_records
from workers.queues import depths


@click.group()
def queue() -> None:
    """List, pause and resume queues."""


@queue.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Every queue: what waits in it, what workers hold of it, how old its oldest message is."""
    broker = _broker()
    paused = pauses.paused(broker)
    records = [state._asdict() | {"paused": state.name in paused} for state in depths(broker)]
    print_records(records, ("name", "depth", "in_flight", "oldest_age_seconds", "paused"), as_json=as_json)


@queue.command()
@click.argument("queue")
def pause(queue: str) -> None:
    """Stop consuming QUEUE on every worker, also on those that start later; it keeps accepting."""
    pauses.pause(_broker(), _known(queue))
    click.echo(f"paused {queue}; workers finish what they hold of it")


@queue.command()
@click.argument("queue")
def resume(queue: str) -> None:
    """Consume QUEUE again."""
    pauses.resume(_broker(), _known(queue))
    click.echo(f"resumed {queue}")


def _broker() -> redis.Redis:
    config = settings()
    return connect(config.required("broker_url"), timeout=config.broker_timeout_seconds)


def _known(queue: str) -> str:
    if queue not in QUEUES:
        raise NotFound(f"no queue {queue!r}; `headrace queue list` shows them{did_you_mean(queue, QUEUES)}")
    return queue
