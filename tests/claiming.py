"""A few words to say in tests what happens to claims and messages."""

import redis

from shared.broker import calls, keys
from shared.broker.claims import Claims

LANE = "messages.03"
LEASE_MS = 60_000


def publish(client: redis.Redis, name: str, *payloads: str) -> None:
    """As kombu does."""
    client.lpush(name, *payloads)


def waiting(client: redis.Redis, name: str) -> list[str]:
    """What waits in a list, the next first."""
    return [payload.decode() for payload in reversed(client.lrange(name, 0, -1))]


def take(claims: Claims, consumer: str, name: str = LANE, count: int = 100, single: bool = True) -> list[calls.Claim]:
    """Claim from one list."""
    return claims.claim(consumer, [(name, single)], count).messages


def payloads(messages: list[calls.Claim]) -> list[str]:
    """What they carry."""
    return [message.payload.decode() for message in messages]


def tokens(messages: list[calls.Claim]) -> list[str]:
    """What they are settled by."""
    return [message.token for message in messages]


def end_lease(client: redis.Redis, consumer: str) -> None:
    """Make the consumer's lease one that ended long ago."""
    client.zadd(keys.CONSUMERS, {consumer: 1})
