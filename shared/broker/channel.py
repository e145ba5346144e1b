"""The channel: kombu's face of a `consumer.Consumer`.

Kombu's names are kept where kombu or Celery look at them: the handler ``BRPOP``, ``_in_poll``, ``_brpop_sent_at``.
"""

# Kombu is typed in part.
# mypy: disable-error-code="no-untyped-call,assignment,override"

from collections.abc import Callable, Iterable, Mapping, Sequence
from queue import Empty
from time import monotonic
from typing import Any

import redis
from kombu.transport import redis as kombu_redis

from shared.broker import calls
from shared.broker.consumer import Consumer
from shared.broker.envelope import decode
from shared.broker.keys import WAKE
from shared.broker.qos import QoS
from shared.errors import ConfigurationError
from shared.log import get_logger

log = get_logger(__name__)


class WithoutTransactions(redis.Redis):
    """Kombu's client: its pipelines, none of which needs to be atomic, go without MULTI, which a Redis that is full refuses."""

    def pipeline(self, transaction: Any = True, shard_hint: Any = None) -> Any:
        """As redis-py's, never in a transaction."""
        return super().pipeline(transaction=False, shard_hint=shard_hint)


Receiver = Callable[[Any, str, calls.Claim, str], None]
"""Called with the channel, the queue, the claim, and why it is refused, or empty. Must not block."""


class Channel(kombu_redis.Channel):
    """A kombu channel. Transport options of its own: ``lease_seconds``, ``lanes``, ``claim_bytes``."""

    QoS = QoS
    from_transport_options = (*kombu_redis.Channel.from_transport_options, "lease_seconds", "lanes", "claim_bytes")

    lease_seconds = 15.0
    lanes = 0
    """The fleet's number of lanes; 0: this process reads none, and forwards nothing."""
    claim_bytes = calls.CLAIM_BYTES_MAX
    """Bytes of payload in one claim, and in flight before another: so about twice this in a worker."""
    receiver: "Receiver | None" = None
    """Takes lanes' messages, and what is refused, undecoded, in the place of kombu's callbacks."""
    working: Callable[[], Mapping[str, int]] = staticmethod(dict)
    """Asked when the link broke, and again by the next channel: token -> bytes of payload of what is still worked on. That stays
    claimed, and is the next channel's; all else goes back to its queue."""
    socket_timeout = 5.0
    socket_connect_timeout = 5.0

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        if self.global_keyprefix:
            raise ConfigurationError("global_keyprefix is not supported: give the fleet a database number of its own")
        self.no_ack_queues: set[str] = set()
        self.claimer = Consumer(self)
        self.handlers |= {"WAKE": self.claimer.heard, "WATCH": self.claimer.moved}

    def basic_consume(self, queue: str, no_ack: bool = False, *args: Any, **kwargs: Any) -> Any:
        result = super().basic_consume(queue, no_ack, *args, **kwargs)
        if no_ack:
            self.no_ack_queues.add(queue)
        self.claimer.queues_changed()
        return result

    def _basic_cancel(self, consumer_tag: str) -> None:
        super()._basic_cancel(consumer_tag)
        self.claimer.queues_changed()

    # A worker must be able to start while Redis is full, for it is who drains it. What kombu writes about bindings can wait.

    def _get_client(self) -> type[redis.Redis]:
        super()._get_client()
        return WithoutTransactions

    def _queue_bind(self, *args: Any) -> None:
        try:
            super()._queue_bind(*args)
        except redis.ResponseError as error:
            log.warning("queue not bound to its exchange", error=str(error))

    def maybe_refresh_binding_expiry(self) -> None:
        try:
            super().maybe_refresh_binding_expiry()
        except redis.ResponseError as error:
            self._binding_expiry_refreshed_at = monotonic()  # a binding lasts an hour; the next turn will do
            log.warning("bindings not refreshed", error=str(error))

    def _put(self, queue: str, message: Any, **kwargs: Any) -> None:
        super()._put(queue, message, **kwargs)
        batch = kwargs.get("_publish_batch")
        if batch is not None:
            batch.add("publish", WAKE, queue)
        else:
            with self.conn_or_acquire() as client:
                client.publish(WAKE, queue)

    def basic_get(self, queue: str, no_ack: bool = False, **kwargs: Any) -> Any:
        message = super().basic_get(queue, no_ack, **kwargs)
        if message is not None and no_ack:
            self.claimer.outbox.settle(message.delivery_tag)
        return message

    def _get(self, queue: str) -> Any:
        message = self.claimer.take_one(queue)
        if message is None:
            raise Empty
        envelope = decode(message.payload)
        envelope["properties"]["delivery_tag"] = message.token
        return envelope

    def settle(self, tokens: Iterable[str]) -> None:
        """Acknowledge, with the next bulk ack; a token that is not this channel's any more is left alone."""
        self.claimer.outbox.settle(*[token for token in tokens if self.qos.forget(token)])

    def holds(self, token: str) -> bool:
        """Whether this message is delivered here, its claim not settled and not known to be lost."""
        return not self.closed and token in self.qos.sizes

    def give_back(self, tokens: Sequence[str]) -> None:
        """Return messages to the heads of their queues, in their order; no death is counted.

        For the batch task, like the next two: a token is a message's ``delivery_tag``.
        """
        self._forget(tokens)
        self.claimer.give_back(tokens)

    def delay(self, token: str, seconds: float) -> None:
        """Return a message to the tail of its queue in ``seconds``; until then Redis holds it."""
        self._forget([token])
        self.claimer.outbox.delay(token, for_ms=int(seconds * 1000))

    def mark_alone(self, tokens: Sequence[str]) -> None:
        """Say, before it runs, that each of these messages runs in a batch of its own."""
        self.claimer.outbox.mark_alone(tokens)

    def _forget(self, tokens: Sequence[str]) -> None:
        for token in tokens:
            self.qos.forget(token)

    def retire(self) -> None:
        """See `Consumer.retire`."""
        self.claimer.retire()

    def close(self) -> None:
        self._in_poll = None  # kombu would wait for the answer and deliver it
        self.retire()
        super().close()
        self.claimer.closed()

    def _brpop_start(self, timeout: float | None = None) -> None:
        self.claimer.tick()

    def _brpop_read(self, **options: Any) -> bool:
        return self.claimer.read()


class SentinelChannel(Channel, kombu_redis.SentinelChannel):
    """The same through Redis Sentinel; needs the transport option ``master_name``."""

    from_transport_options = (*kombu_redis.SentinelChannel.from_transport_options, *Channel.from_transport_options[-3:])
