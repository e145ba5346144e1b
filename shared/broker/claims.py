"""The claims of a broker, face to face: each method runs one script and waits for the answer.

For tests, the command line and what the transport does rarely; its fetch path sends the same calls without waiting.
The client must return bytes, have a ``socket_timeout``, and repeat nothing by itself: a claim that is repeated after a lost
answer leaves the first one's messages claimed by a consumer that does not know them.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple, TypeVar, cast

import redis

from shared.broker import calls, keys, script

T = TypeVar("T")


class Members(NamedTuple):
    """Who consumes."""

    epoch: int
    single_active: dict[str, frozenset[str]]
    """Consumer id -> the single-active queues it reads."""


class Claims:
    """See the module. Every method may raise redis.RedisError.

    Args:
        client: a redis-py client as the module says.
    """

    def __init__(self, client: redis.Redis) -> None:
        self._client = client

    def run(self, call: calls.Call[T]) -> T:
        """Run one call of `shared.broker.calls` and wait."""
        return call.read(call.script.run(self._client, call.arguments))

    def teach(self) -> None:
        """See `script.teach`."""
        script.teach(self._client)

    def join(self, consumer: str, lease_ms: int, *, lanes: int = 0, single_active: Iterable[str] = ()) -> None:
        """See `calls.join`."""
        self.run(calls.join(consumer, lease_ms, lanes, single_active))

    def claim(
        self, consumer: str, lists: Iterable[tuple[str, bool]], count: int, bytes_max: int = calls.CLAIM_BYTES_MAX
    ) -> calls.Claimed:
        """See `calls.claim`."""
        return self.run(calls.claim(consumer, lists, count, bytes_max))

    def ack(self, consumer: str, tokens: Sequence[str]) -> int:
        """See `calls.ack`; any number of tokens."""
        return sum(self.run(calls.ack(consumer, part)) for part in _parts(tokens))

    def give_back(self, consumer: str, tokens: Sequence[str]) -> int:
        """See `calls.give_back`; any number of tokens. How many were returned."""
        in_order = sorted(tokens, key=keys.number_of)
        return sum(self.run(calls.give_back(consumer, part)) for part in reversed(_parts(in_order)))

    def held(self, consumer: str) -> frozenset[str]:
        """The tokens of all its claims."""
        return frozenset(token.decode() for token in cast("list[bytes]", self._client.hkeys(keys.CLAIMS + consumer)))

    def leave(self, consumer: str) -> None:
        """Give back every claim, then end the lease. Doing it twice, or for a consumer that is gone, changes nothing."""
        while self.run(calls.leave(consumer)):
            self.run(calls.give_back_all(consumer))

    def renew(self, consumer: str, lease_ms: int) -> None:
        """See `calls.renew`."""
        self.run(calls.renew(consumer, lease_ms))

    def reap(self, lease_ms: int = 0) -> calls.Reaped:
        """See `calls.reap`."""
        return self.run(calls.reap(lease_ms))

    def delay(self, consumer: str, token: str, seconds: float) -> int:
        """Turn a claim into a delayed message, due in ``seconds``."""
        return self.run(calls.delay(consumer, token, for_ms=int(seconds * 1000)))

    def promote(self, count: int = 100) -> calls.Promoted:
        """See `calls.promote`."""
        return self.run(calls.promote(count))

    def forward(self, consumer: str, targets: Sequence[tuple[str, str]]) -> int:
        """See `calls.forward`; any number of pairs."""
        return sum(self.run(calls.forward(consumer, part)) for part in _parts(targets))

    def mark_alone(self, consumer: str, tokens: Sequence[str]) -> int:
        """See `calls.mark_alone`."""
        return self.run(calls.mark_alone(consumer, tokens))

    def members(self) -> Members:
        """The consumers whose claims nobody has begun to take away; perhaps newer than the epoch, never older."""
        pipeline = self._client.pipeline(transaction=False)  # a Redis that is full refuses MULTI
        pipeline.get(keys.EPOCH)
        pipeline.zrangebyscore(keys.CONSUMERS, "(0", "+inf")
        pipeline.hgetall(keys.CONSUMING)
        epoch, consumers, consuming = pipeline.execute()
        return Members(
            int(epoch or 0),
            {consumer.decode(): frozenset(consuming.get(consumer, b"").decode().split()) for consumer in consumers},
        )

    def pause(self, queues: Iterable[str]) -> None:
        """Stop the whole fleet from claiming from these queues; what is claimed is finished, what is sent is kept."""
        self.run(calls.pause(queues))

    def resume(self, queues: Sequence[str]) -> None:
        """Undo `pause`."""
        pipeline = self._client.pipeline(transaction=False)
        pipeline.srem(keys.PAUSED, *queues)
        pipeline.publish(keys.WAKE, " ".join(queues))
        pipeline.execute()

    def paused(self) -> set[str]:
        """The queues that are paused."""
        return {queue.decode() for queue in cast("set[bytes]", self._client.smembers(keys.PAUSED))}


def _parts(items: Sequence[T]) -> list[Sequence[T]]:
    return [items[start : start + calls.TOKENS_MAX] for start in range(0, len(items), calls.TOKENS_MAX)]
