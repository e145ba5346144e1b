"""`headrace broker`: what is done to the broker of a stopped fleet."""

import click
import redis

from shared.broker import export as stopped
from shared.redis_client import connect
from shared.settings import settings
from shared.topology import LANES_MAX
from workers.cli.family import Family
from workers.cli.output import json_option, print_record


@click.group(cls=Family)
def broker() -> None:
    """Of a stopped fleet: put its messages back into plain lists, or change its number of lanes."""


@broker.command()
@json_option
def export(as_json: bool) -> None:
    """Put the messages of a stopped fleet back into plain Celery lists.

    Claimed ones go to the heads of their queues, delayed ones to the tails; any stock Celery worker takes it from there. Says
    how many. It refuses while a worker's lease stands. Repeating it is harmless.
    """
    with _connected() as client:
        print_record(stopped.export(client)._asdict(), as_json=as_json)


@broker.command()
@click.argument("number", type=click.IntRange(1, LANES_MAX))
@json_option
def lanes(number: int, as_json: bool) -> None:
    """Change the number of lanes of a stopped fleet to NUMBER.

    What waits in message lanes is forwarded to its new lane, in order, once workers run again; webhook lanes must be drained
    before. It refuses while a worker's lease stands. Then set HEADRACE_LANES for every process and start them.
    """
    with _connected() as client:
        print_record({"lanes": number, "waiting": stopped.change_lanes(client, number)}, as_json=as_json)


def _connected() -> redis.Redis:
    config = settings()
    return connect(config.required("broker_url"), timeout=config.broker_timeout_seconds, master=config.broker_master)
