"""The same job on stock Celery: kombu's own Redis transport, late acks, nothing of ours.

Configured by STOCK_BROKER_URL, STOCK_VISIBILITY_SECONDS (empty: kombu's default, an hour) and STOCK_WITNESS_URL, a Redis that no
fault reaches, where each message leaves its id in ``delivered`` when it is begun and in ``done`` when it is stored.
"""

import os
from pathlib import Path
from threading import Event
from typing import Any

import redis
from celery import Celery, signals

app = Celery("stock", broker=os.environ.get("STOCK_BROKER_URL"))
visibility = os.environ.get("STOCK_VISIBILITY_SECONDS")
app.conf.update(
    task_acks_late=True,
    task_reject_on_worker_lost=True,
    task_ignore_result=True,
    broker_connection_retry_on_startup=True,
    broker_transport_options={"visibility_timeout": float(visibility)} if visibility else {},
)


@signals.worker_ready.connect
def say_ready(**_: Any) -> None:
    """As our workers do, for `tests.nodes`."""
    Path(os.environ["HEADRACE_READY_FILE"]).touch()


@app.task(name="messages.store")
def store(message: dict[str, Any]) -> None:
    """Take as long as the message says, then store it."""
    with redis.Redis.from_url(os.environ["STOCK_WITNESS_URL"]) as witness:
        witness.rpush("delivered", message["message_id"])
        if message["text"].startswith("takes "):
            Event().wait(float(message["text"].removeprefix("takes ")))
        witness.rpush("done", message["message_id"])
