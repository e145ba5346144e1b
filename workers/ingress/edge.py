"""What the ingress holds open: the publisher, the quota, the two look-ups, threads that read. Opened once a process, closed at
its end.

Handlers get it as their first argument; tests give it another writer or other loads.
"""

import asyncio
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

from shared.breaker import Breaker
from shared.cache.tiers import close_tiers
from shared.db.engine import close_engine, use
from shared.db.outage import is_outage
from shared.db.role import Role
from shared.db.session import ReadSession, fetch
from shared.envelope import Enqueued
from shared.errors import BrokerUnavailable
from shared.producer import Producer
from shared.redis_client import connect
from shared.settings import Settings
from shared.store import channels, lookups
from shared.topology import LANED, lane_queues
from shared.tracing import span
from workers.ingress import depths
from workers.ingress.answer import Refused, unavailable
from workers.ingress.loads import LookupUnavailable
from workers.ingress.lookup import RETRY_SECONDS, Lookup
from workers.ingress.publisher import Overloaded, Publisher, Writer
from workers.ingress.quota import Quota
from workers.ingress.readiness import Readiness
from workers.ingress.request import Intake, Request

T = TypeVar("T")

OTHER_CONNECTIONS = 5
"""Connections that are not the readers': two look-ups with two threads each, and the readiness check."""

READS_WAITING_MAX = 200
"""Reads waiting or running: pages of up to 200 messages are large, and a reader can come back."""

LOOK_SECONDS_MAX = 1.0
"""For the depths of the lanes. Later they would say nothing of now."""

API_KEY_LENGTH_MAX = 200

CHANNEL_ID = re.compile(r"[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}")
"""A UUID in the form in which ids are handed out; nothing else is looked up. Cheaper than making one, a request."""


class Edge:
    """Lives on one event loop; blocking work goes to threads.

    Args:
        settings: of the process.
        producer: the broker, for readiness; closed with the edge.
        writer: what publishes; the producer unless a test says otherwise.
    """

    def __init__(self, settings: Settings, producer: Producer, writer: Writer | None = None) -> None:
        use(Role("ingress", settings.database_pool, settings.database_overflow, serves=True))
        self.lanes = settings.lanes
        self.leaving = False
        """It stops: it is not ready any more, and each answer is its connection's last."""
        self.intake = Intake()
        self.readiness = Readiness(producer.ping)
        database = Breaker("database", failures=1, open_seconds=RETRY_SECONDS)
        self.channels = Lookup("channel", lookups.channels_by_id(), _channel, database=database)
        self.accounts = Lookup("account", lookups.accounts_by_key(), _account_id, database=database)
        self._producer = producer
        self._publisher = Publisher(
            writer or producer,
            linger_seconds=settings.publish_linger_ms / 1000,
            messages_max=settings.publish_messages_max,
            waiting_max=settings.publish_waiting_max,
            timeout_seconds=settings.broker_timeout_seconds,
        )
        self._broker = connect(settings.required("broker_url"), timeout=LOOK_SECONDS_MAX, master=settings.broker_master)
        lanes = [lane for kind in LANED for lane in lane_queues(kind, settings.lanes)]
        self.quota = Quota(
            partial(depths.read, self._broker, lanes),
            messages_max=settings.account_backlog_max,
            shared_max=settings.account_backlog_shared_max,
        )
        self._readers = ThreadPoolExecutor(max(1, settings.database_pool - OTHER_CONNECTIONS), thread_name_prefix="reader")
        self._reading = 0

    async def close(self) -> None:
        """Write what waits, then let go of everything, without waiting for a database that hangs."""
        await self._publisher.close()
        await self.quota.close()
        self.channels.close()
        self.accounts.close()
        self.readiness.close()
        self._readers.shutdown(wait=False, cancel_futures=True)
        self._broker.close()
        self._producer.close()
        close_tiers()
        close_engine()

    async def publish(self, account_id: str, messages: Sequence[Enqueued]) -> None:
        """Return once the broker has confirmed the account's ``messages``. Raises Refused (503)."""
        try:
            with span("publish", **{"messaging.batch.message_count": len(messages)}):
                await self._publisher.publish(messages)
        except Overloaded as error:
            raise unavailable("too many messages wait for the broker") from error
        except BrokerUnavailable as error:
            raise unavailable("the broker does not confirm") from error
        self.quota.put(account_id, messages)

    async def channel(self, channel_id: str) -> channels.ChannelRecord:
        """The channel. Raises Refused (404, or 503 when nobody knows)."""
        try:
            channel = await self.channels.find(channel_id) if CHANNEL_ID.fullmatch(channel_id) else None
        except LookupUnavailable as error:
            raise unavailable(str(error)) from error
        if channel is None:
            raise Refused(404, "there is no such channel")
        return channel

    async def account_id(self, request: Request) -> str:
        """The account whose key the request bears. Raises Refused (401, or 503 when nobody knows)."""
        scheme, _, api_key = request.headers.get("authorization", "").partition(" ")
        found = None
        if scheme.lower() == "bearer" and 0 < len(api_key) <= API_KEY_LENGTH_MAX:
            try:
                found = await self.accounts.find(lookups.key_of(api_key))
            except LookupUnavailable as error:
                raise unavailable(str(error)) from error
        if found is None:
            raise Refused(401, "an API key is required: Authorization: Bearer <api_key>", (b"www-authenticate", b"Bearer"))
        return found

    async def read(self, query: Callable[[ReadSession], T], *, fresh: bool = False) -> T:
        """Run ``query`` in a thread with a session; ``fresh`` as `fetch`'s.

        Raises Refused (503) during an outage or when too many wait.
        """
        if self._reading >= READS_WAITING_MAX:
            raise unavailable("too many reads wait")
        self._reading += 1
        try:
            return await asyncio.get_running_loop().run_in_executor(self._readers, partial(fetch, query, fresh=fresh))
        except Exception as error:
            if is_outage(error):
                raise unavailable("the database does not answer") from error
            raise
        finally:
            self._reading -= 1


def _channel(channel_id: str) -> channels.ChannelRecord | None:
    return lookups.load_channels([channel_id]).get(channel_id)


def _account_id(key: str) -> str | None:
    return lookups.load_accounts([key]).get(key)
