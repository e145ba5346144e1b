"""A plain Celery application on the transport: what a user of stock Celery would run, and a one-message ``messages.store``.

Configured by BROKER_APP_URL, BROKER_APP_LEASE (seconds) and BROKER_APP_LANES. Tasks note what they did in database 1.
"""

import os
from threading import Event

import redis
from celery import Celery
from kombu import Queue

from shared.broker.transport import install
from shared.topology import lane_queues

install()

URL = os.environ.get("BROKER_APP_URL", "redis://127.0.0.1:6379/0")
LANES = int(os.environ.get("BROKER_APP_LANES", "4"))

app = Celery("broker_app", broker=URL)
app.conf.update(
    broker_transport_options={"lease_seconds": float(os.environ.get("BROKER_APP_LEASE", "2")), "lanes": LANES},
    broker_connection_retry_on_startup=True,
    task_queues=[Queue(name) for name in ("work", "messages", *lane_queues("messages", LANES))],
    task_default_queue="work",
    task_acks_late=True,
    task_ignore_result=True,
    task_reject_on_worker_lost=True,
    worker_prefetch_multiplier=50,
)


def note(name: str, value: object) -> None:
    """Append to a list of database 1."""
    with redis.Redis.from_url(URL.replace("/0", "/1")) as client:
        client.rpush(name, str(value))


@app.task(name="note")
def note_task(value: int, seconds: float = 0) -> None:
    """Take a while, then note the value."""
    note("started", value)
    if seconds:
        Event().wait(seconds)
    note("done", value)


@app.task(name="messages.store")
def store(message: dict[str, str]) -> None:
    """Note the message under its conversation."""
    note(f"stored:{message['conversation_id']}", message["message_id"])
    note("stored", message["message_id"])
