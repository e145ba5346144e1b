"""`headrace queue`: what waits, and pausing it fleet-wide. A paused queue keeps accepting and is not consumed."""

import click
import redis

from shared.broker.claims import Claims
from shared.errors import NotFound
from shared.redis_client import connect
from shared.settings import settings
from shared.topology import KINDS, queues_of
from workers.cli.family import Family
from workers.cli.output import did_you_mean, json_option, print_records
from workers.queues import depths


@click.group(cls=Family)
def queue() -> None:
    """List, pause and resume queues."""


@queue.command("list")
@json_option
def list_(as_json: bool) -> None:
    """Every queue and lane: what waits in it, what workers hold of it, how old its oldest message is."""
    broker = _broker()
    paused = Claims(broker).paused()
    states = depths(broker, settings().queues)
    records = [state._asdict() | {"paused": state.name in paused} for state in states]
    print_records(records, ("name", "depth", "in_flight", "oldest_age_seconds", "paused"), as_json=as_json)


@queue.command()
@click.argument("queue")
def pause(queue: str) -> None:
    """Stop consuming QUEUE on every worker, also on those that start later; it keeps accepting.

    QUEUE is one lane, such as messages.07, or a kind, such as messages: then all its lanes and its plain producers' queue.
    """
    Claims(_broker()).pause(_known(queue))
    click.echo(f"paused {queue}; workers finish what they hold of it")


@queue.command()
@click.argument("queue")
def resume(queue: str) -> None:
    """Consume QUEUE again."""
    Claims(_broker()).resume(_known(queue))
    click.echo(f"resumed {queue}")


def _broker() -> redis.Redis:
    config = settings()
    return connect(config.required("broker_url"), timeout=config.broker_timeout_seconds, master=config.broker_master)


def _known(queue: str) -> list[str]:
    if queue in KINDS:
        return queues_of(queue, settings().lanes)
    queues = [*KINDS, *settings().queues]
    if queue not in queues:
        raise NotFound(f"no queue {queue!r}; `headrace queue list` shows them{did_you_mean(queue, queues)}")
    return [queue]
