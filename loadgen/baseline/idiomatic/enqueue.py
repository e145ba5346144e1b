"""Queue the messages of a file by stock Celery, and print the messages a second: `python enqueue.py one|batch FILE`.

``one``: `apply_async` one by one, as most producers do. ``batch``: `send_task` inside kombu 5.7's `Producer.batch()`, which
pipelines the writes. The broker's address comes from CELERY_BROKER_URL.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

from celery import Celery

QUEUE = "messages"

app = Celery("enqueue")
app.conf.task_ignore_result = True


def store(message: dict[str, Any]) -> None:
    """Runs elsewhere."""


def one_by_one(messages: list[dict[str, Any]]) -> None:
    """A round trip for each message."""
    task = app.task(name="messages.store")(store)
    for message in messages:
        task.apply_async((message,), queue=QUEUE)


def in_a_batch(messages: list[dict[str, Any]]) -> None:
    """A round trip for each of kombu's batches."""
    with app.producer_or_acquire() as producer, producer.batch():
        for message in messages:
            app.send_task("messages.store", args=(message,), queue=QUEUE, producer=producer)


def main(how: str, file: str) -> None:
    """The connection is made, and everything loaded, before the clock starts."""
    messages = [json.loads(line) for line in Path(file).read_text().splitlines()]
    send = {"one": one_by_one, "batch": in_a_batch}[how]
    send(messages[:1])
    started = time.perf_counter()
    send(messages[1:])
    sys.stdout.write(f"{(len(messages) - 1) / (time.perf_counter() - started)}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
