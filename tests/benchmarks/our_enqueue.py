"""Queue the messages of a file by `Producer.enqueue_many`, and print the messages a second: `python -m ... FILE`."""

import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import orjson

from shared.producer import Item, Producer
from shared.settings import settings
from shared.topology import STORE_MESSAGES


def main(file: str) -> None:
    """As the stock sender: the connection is made before the clock starts; encoding and envelopes count."""
    messages = [orjson.loads(line) for line in Path(file).read_bytes().splitlines()]
    producer = Producer(settings().required("broker_url"))
    producer.enqueue_many(STORE_MESSAGES, items(messages[:1]))
    started = time.perf_counter()
    producer.enqueue_many(STORE_MESSAGES, items(messages[1:]))
    sys.stdout.write(f"{(len(messages) - 1) / (time.perf_counter() - started)}\n")
    producer.close()


def items(messages: Iterable[dict[str, Any]]) -> Iterable[Item]:
    """The messages with what their order hangs on."""
    return (Item(message, message["account_id"], message["conversation_id"]) for message in messages)


if __name__ == "__main__":
    main(sys.argv[1])
