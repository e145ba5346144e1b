"""`headrace broker`: the way out of our transport."""

import click

from shared.broker import export as way_out
from shared.redis_client import connect
from shared.settings import settings
from workers.cli.output import json_option, print_record


@click.group()
def broker() -> None:
    """Leave the broker: put what is claimed or delayed back into lists."""


@broker.command()
@json_option
def export(as_json: bool) -> None:
    """Put the messages of a stopped fleet back into plain Celery lists.

    Claimed ones go to the heads of their queues, delayed ones to the tails; any stock Celery worker takes it from there. Says
    how many. It refuses while a worker's lease stands. Repeating it is harmless.
    """
    config = settings()
    url, master = config.required("broker_url"), config.broker_master
    with connect(url, timeout=config.broker_timeout_seconds, master=master) as client:
        print_record(way_out.export(client)._asdict(), as_json=as_json)
