"""A kombu consumer that keeps what it is handed, and what it reads."""

import json
from typing import Any

import kombu
import pytest
import redis

from shared.broker import keys
from shared.redis_client import MASTER_DEFAULT


class Reader:
    """A kombu consumer that keeps what it is handed."""

    def __init__(self, url: str, *queues: str, prefetch: int = 10, no_ack: bool = False) -> None:
        self.got: list[Any] = []
        self.connection = kombu.Connection(url, transport_options={"lease_seconds": 5, "master_name": MASTER_DEFAULT})
        self.channel = self.connection.default_channel
        self.channel.basic_qos(0, prefetch, False)
        self.consumer = kombu.Consumer(
            self.channel, [kombu.Queue(name) for name in queues], on_message=self.on_message, no_ack=no_ack
        )
        self.consumer.consume()

    def on_message(self, message: Any) -> None:
        self.got.append(message)

    def read(self, count: int) -> list[str]:
        """Until ``count`` messages were handed over in all; their bodies."""
        while len(self.got) < count:
            self.connection.drain_events(timeout=5)
        return [message.body.decode() for message in self.got]

    def pause(self) -> None:
        """Whatever comes now."""
        with pytest.raises(TimeoutError):
            self.connection.drain_events(timeout=0.3)


def send(client: redis.Redis, name: str, *bodies: str) -> None:
    envelope = {"headers": {}, "content-type": "text/plain", "content-encoding": "utf-8", "properties": {}}
    client.lpush(name, *(json.dumps(envelope | {"body": body}) for body in bodies))


def waiting(client: redis.Redis, name: str) -> list[str]:
    return [json.loads(payload)["body"] for payload in reversed(client.lrange(name, 0, -1))]


def nothing_claimed(client: redis.Redis) -> bool:
    return not client.keys(keys.CLAIMS + "*")
