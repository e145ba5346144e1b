"""A stock Celery worker: nothing of Headrace is imported. It notes what it was given in database 1 of its broker.

Configured by STOCK_BROKER_URL.
"""

import json
import os
from typing import Any

import redis
from celery import Celery, Task

URL = os.environ.get("STOCK_BROKER_URL", "redis://127.0.0.1:6379/0")

app = Celery("stock", broker=URL)
app.conf.broker_connection_retry_on_startup = True


def _note(task: Task, argument: Any) -> None:
    with redis.Redis.from_url(URL.replace("/0", "/1")) as client:
        client.rpush("noted", json.dumps([task.name, task.request.id, task.request.root_id, argument]))


@app.task(name="maintenance.note", bind=True)
def note(self: Task, argument: Any) -> None:
    """Note the argument."""
    _note(self, argument)


@app.task(name="messages.store", bind=True)
def store(self: Task, argument: Any) -> None:
    """The same, but at its second try: a retry sends the message again with all that it came with."""
    if not self.request.retries:
        raise self.retry(countdown=0)
    _note(self, argument)
