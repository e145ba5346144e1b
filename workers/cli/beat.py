"""`headrace beat`: the scheduler in the foreground. Logs to stderr and ends within a second of SIGTERM."""

import signal
import threading

import click

from shared import log
from shared.redis_client import connect
from shared.schedule import SCHEDULE
from shared.settings import settings


@click.command()
def beat() -> None:
    """The scheduler in the foreground: sends each entry of the schedule once a tick.

    Run one, or two for the case that one dies: a tick is sent once by however many there are. A killed one goes on where it
    stopped, for what was sent is remembered by the broker.
    """
    from workers.beat import Beat  # noqa: PLC0415 - Celery's envelope is loaded only by the processes that need it

    log.configure("beat")
    config = settings()
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    broker = connect(config.required("broker_url"), timeout=config.broker_timeout_seconds, master=config.broker_master)
    log.get_logger(__name__).info("beat runs", entries=[entry.task for entry in SCHEDULE])
    Beat(broker, SCHEDULE).run(stop)
