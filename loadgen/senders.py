"""The three ways in. A link sends one message at a time and returns once it was acknowledged.

* `WebhookLink`: a signed Standard Webhook, as a provider sends it.
* `ApiLink`: `POST /v1/messages` with one message.
* `CeleryLink`: `send_task` of a stock Celery client, which knows nothing of Headrace, in a process of the link's own.
"""

import asyncio
import base64
import hashlib
import hmac
import sys
import time
from asyncio.subprocess import PIPE
from collections.abc import Sequence
from typing import Protocol

import msgspec

from loadgen import plain_producer
from loadgen.http import Connection
from loadgen.tenants import Tenant
from shared.errors import BrokerUnavailable, HeadraceError
from shared.message import Message, encode_queued
from shared.producer import Producer
from shared.settings import masked, settings

VIAS = ("webhook", "api", "celery")

ANSWER_SECONDS = 10.0
"""Waiting for one acknowledgement: twice what the edge itself waits for the broker before it answers 503."""

CONNECTIONS = 64
"""To the edge: at 10 ms an acknowledgement they carry 6,400 messages a second."""

PROCESSES = 8
"""Of Celery clients, one message at a time each. A send costs one of them about 2 ms of CPU beside a fleet on 2 cores and
waits about 3 ms for the broker's fsync; asked for 600/s, 3 of them sent 525, 5 sent 490, 8 sent 550 to 595: all the CPU."""

RETRIED_STATUSES = (429, 503)

SECRET_PREFIX = "whsec_"  # noqa: S105 - what every Standard Webhooks secret begins with


class NotAccepted(Exception):
    """A message was not acknowledged; unless that is certain, it may be queued nevertheless.

    Args:
        reason: a status or ``connection``, ``time-out``, ``broker``: what retries are counted by.
        again: whether sending it again may help.
        after: seconds that the server asked to wait, or None.
        certain: it is not queued: the server said so. A time-out does not say, nor does a 503: the broker may have taken it.
    """

    def __init__(self, reason: str, *, again: bool, after: float | None = None, certain: bool = False) -> None:
        super().__init__(reason)
        self.reason = reason
        self.again = again
        self.after = after
        self.certain = certain


class Link(Protocol):
    """One way in, one message at a time."""

    async def open(self) -> None:
        """Get ready to send."""

    async def send(self, account: int, message: Message) -> None:
        """Send ``message`` of the run's account number ``account``. Raises NotAccepted."""

    async def close(self) -> None:
        """Let go of connections and processes."""


class WebhookLink:
    """Args: the ingress, and for each account its channel's id and secret."""

    def __init__(self, host: str, port: int, channels: list[tuple[str, str]]) -> None:
        self._connection = Connection(host, port, timeout=ANSWER_SECONDS)
        self._paths = [f"/v1/webhooks/{channel_id}" for channel_id, _ in channels]
        self._keys = [base64.b64decode(secret.removeprefix(SECRET_PREFIX)) for _, secret in channels]

    async def open(self) -> None:
        """The first request does."""

    async def send(self, account: int, message: Message) -> None:
        body = msgspec.json.encode({"type": "message.created", "timestamp": message.sent_at, "data": message})
        timestamp = str(int(time.time()))
        signature = signature_of(self._keys[account], message.message_id, timestamp, body)
        head = (
            f"POST {self._paths[account]} HTTP/1.1\r\ncontent-type: application/json\r\n"
            f"webhook-id: {message.message_id}\r\nwebhook-timestamp: {timestamp}\r\nwebhook-signature: {signature}\r\n"
        )
        await _post(self._connection, head, body)

    async def close(self) -> None:
        self._connection.close()


class ApiLink:
    """Args: the ingress, and each account's API key."""

    def __init__(self, host: str, port: int, api_keys: list[str]) -> None:
        self._connection = Connection(host, port, timeout=ANSWER_SECONDS)
        self._heads = [
            f"POST /v1/messages HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {api_key}\r\n"
            for api_key in api_keys
        ]

    async def open(self) -> None:
        """The first request does."""

    async def send(self, account: int, message: Message) -> None:
        await _post(self._connection, self._heads[account], msgspec.json.encode(message))

    async def close(self) -> None:
        self._connection.close()


class CeleryLink:
    """Args: the broker, and each account's id."""

    def __init__(self, broker_url: str, account_ids: list[str]) -> None:
        self._broker_url = broker_url
        self._account_ids = account_ids
        self._process: asyncio.subprocess.Process | None = None

    async def open(self) -> None:
        command = (sys.executable, "-m", plain_producer.__name__)
        # A session of its own: the terminal's Ctrl-C is for the generator, which ends it by closing its stdin.
        self._process = await asyncio.create_subprocess_exec(*command, stdin=PIPE, stdout=PIPE, start_new_session=True)
        await self._exchange(self._broker_url.encode())

    async def send(self, account: int, message: Message) -> None:
        if await self._exchange(encode_queued(self._account_ids[account], message)) != plain_producer.OK:
            raise NotAccepted("broker", again=True)

    async def _exchange(self, line: bytes) -> bytes:
        assert self._process is not None, "open() comes first"
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(line + b"\n")
        answer = await self._process.stdout.readline()
        if not answer:
            raise HeadraceError("a Celery client of the generator ended by itself; the lines above say why")
        return answer

    async def close(self) -> None:
        if self._process and self._process.stdin:
            self._process.stdin.close()
            try:
                await asyncio.wait_for(self._process.wait(), ANSWER_SECONDS)
            except TimeoutError:
                self._process.kill()  # it is stuck in a send that nobody waits for any more
                await self._process.wait()


def signature_of(key: bytes, webhook_id: str, timestamp: str, body: bytes) -> str:
    """The `webhook-signature` of Standard Webhooks: HMAC-SHA256 over id, time stamp and body."""
    signed = f"{webhook_id}.{timestamp}.".encode() + body
    return "v1," + base64.b64encode(hmac.digest(key, signed, hashlib.sha256)).decode()


async def _post(connection: Connection, head: str, body: bytes) -> None:
    try:
        response = await connection.request(head, body)
    except TimeoutError:
        raise NotAccepted("time-out", again=True) from None
    except ConnectionError:
        raise NotAccepted("connection", again=True) from None
    if response.status != 202:
        status, certain = response.status, 400 <= response.status < 500
        raise NotAccepted(str(status), again=status in RETRIED_STATUSES, after=response.retry_after, certain=certain)


def links(via: str, tenants: Sequence[Tenant]) -> list[Link]:
    """As many links as a run needs, of the fleet that `settings` knows. ``via``: ``webhook``, ``api`` or ``celery``."""
    if via == "webhook":
        channels = [(tenant.channel_id, tenant.secret) for tenant in tenants]
        return [WebhookLink(*_ingress(), channels) for _ in range(CONNECTIONS)]
    if via == "api":
        return [ApiLink(*_ingress(), [tenant.api_key for tenant in tenants]) for _ in range(CONNECTIONS)]
    broker_url = settings().required("broker_url")
    return [CeleryLink(broker_url, [tenant.account_id for tenant in tenants]) for _ in range(PROCESSES)]


def reach(via: str) -> None:
    """Raises HeadraceError unless the way in answers."""
    if via == "celery":
        url = settings().required("broker_url")
        try:
            Producer(url).ping()
        except BrokerUnavailable:
            raise HeadraceError(f"no broker answers at {masked(url)}; is the fleet running? `headrace up`") from None
        return
    host, port = _ingress()
    try:
        status = asyncio.run(Connection(host, port, timeout=ANSWER_SECONDS).request("GET /livez HTTP/1.1\r\n")).status
    except (OSError, TimeoutError):
        raise HeadraceError(f"no ingress answers at http://{host}:{port}; is the fleet running? `headrace up`") from None
    if status != 200:
        raise HeadraceError(f"http://{host}:{port}/livez answers {status}: something else than Headrace's ingress is there")


def _ingress() -> tuple[str, int]:
    config = settings()
    everywhere = config.ingress_host in ("0.0.0.0", "::")  # noqa: S104 - what the edge listens on, not what we connect to
    return "127.0.0.1" if everywhere else config.ingress_host, config.ingress_port
