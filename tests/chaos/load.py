"""Messages sent while faults happen, each repeated until its publish has returned: what a good producer does."""

import http.client
import json
import random
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any

import redis
from celery import Celery
from kombu.exceptions import KombuError

from shared.errors import HeadraceError
from shared.message import Message
from shared.producer import Producer
from tests import signing
from tests.chaos.ledger import Ledger
from tests.factory import as_json, message, queued

Send = Callable[[Sequence[Message]], None]
"""Returns once every message is taken; raises one of REFUSALS when some may not have been."""


class NotTaken(Exception):
    """The ingress answered anything but 202."""


REFUSALS = (HeadraceError, KombuError, redis.RedisError, OSError, http.client.HTTPException, NotTaken)
SECONDS_MAX = 120.0
"""A message that is refused for so long ends the test."""


class Load(threading.Thread):
    """Sends from a thread of its own between `start` and `stop`.

    Args:
        send: the way in.
        ledger: where what was taken is entered.
        name: begins every id, unique in a test.
        dice: chooses conversations.
        conversations: how many take part.
        batch: messages in one call of ``send``.
        every: seconds between two calls, 0: at once.
        total: ends by itself after so many messages, 0: when told to.
    """

    def __init__(
        self,
        send: Send,
        ledger: Ledger,
        name: str,
        dice: random.Random,
        *,
        conversations: int,
        batch: int,
        every: float,
        total: int = 0,
    ) -> None:
        super().__init__(name=name)
        self._send, self._ledger, self._dice = send, ledger, random.Random(dice.random())
        self._conversations, self._batch, self._every, self._total = conversations, batch, every, total
        self._enough = threading.Event()
        self.sent = self.refusals = 0
        self.failure: BaseException | None = None

    def run(self) -> None:
        try:
            while not self._enough.is_set() and (not self._total or self.sent < self._total):
                messages = [self._next() for _ in range(self._batch)]
                self._insist(messages)
                self._ledger.enter(messages)
                self._enough.wait(self._every)
        except Exception as error:  # noqa: BLE001 - raised again where the thread is joined
            self.failure = error

    def stop(self) -> None:
        """What is being sent is sent to its end. Raises what ended the thread early."""
        self._enough.set()
        self.wait()

    def wait(self) -> None:
        """Until ``total`` is sent."""
        self.join(SECONDS_MAX + 10)
        if self.failure:
            raise self.failure
        assert not self.is_alive()

    def _next(self) -> Message:
        self.sent += 1
        return message(f"{self.name}-{self.sent:06d}", f"{self.name}-c{self._dice.randrange(self._conversations):04d}")

    def _insist(self, messages: Sequence[Message]) -> None:
        deadline, pause = time.monotonic() + SECONDS_MAX, threading.Event()
        while True:
            try:
                return self._send(messages)
            except REFUSALS:
                self.refusals += 1
                if time.monotonic() > deadline:
                    raise
                pause.wait(0.1)


def to_lanes(broker_url: str, account: str) -> Send:
    """Our producer."""
    producer = Producer(broker_url, timeout=2)
    return lambda messages: producer.publish([queued(account, it) for it in messages])


def to_messages(broker_url: str, account: str, **options: Any) -> Send:
    """A stock Celery client; ``options`` are ``send_task``'s."""
    client = Celery("stock", broker=broker_url, set_as_current=False)
    client.conf.broker_transport_options = {"socket_timeout": 2, "socket_connect_timeout": 2}

    def send(messages: Sequence[Message]) -> None:
        for it in messages:
            argument = {"account_id": account, **as_json(it.message_id, it.conversation_id, text=it.text)}
            client.send_task("messages.store", args=[argument], queue="messages", retry=False, **options)

    return send


def to_api(port: int, api_key: str) -> Send:
    """``POST /v1/messages``."""

    def send(messages: Sequence[Message]) -> None:
        body = json.dumps([as_json(it.message_id, it.conversation_id, text=it.text) for it in messages]).encode()
        _post(port, "/v1/messages", body, {"Authorization": f"Bearer {api_key}"})

    return send


def to_webhooks(port: int, channel: Any) -> Send:
    """``POST /v1/webhooks/...``, one by one."""

    def send(messages: Sequence[Message]) -> None:
        for it in messages:
            event = {"type": "message.created", "data": as_json(it.message_id, it.conversation_id, text=it.text)}
            body = json.dumps(event).encode()
            _post(port, f"/v1/webhooks/{channel.id}", body, signing.standard(body, channel.secret))

    return send


def _post(port: int, path: str, body: bytes, headers: dict[str, str]) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    try:
        connection.request("POST", path, body, headers)
        answer = connection.getresponse()
        answer.read()
        if answer.status != 202:
            raise NotTaken(answer.status)
    finally:
        connection.close()
