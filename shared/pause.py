"""Paused queues: a set in the broker, so that every worker obeys it, also one that starts later.

A paused queue keeps accepting; workers stop taking from it within a second or two and finish what they hold.
"""

from typing import cast

import redis

KEY = "headrace:paused"
"""A Redis set of queue names. Absent: nothing is paused."""


def paused(broker: redis.Redis) -> frozenset[str]:
    """The queues that are paused now. Raises redis.RedisError when the broker does not answer."""
    return frozenset(name.decode() for name in cast(set[bytes], broker.smembers(KEY)))


def pause(broker: redis.Redis, queue: str) -> None:
    """Stop consuming ``queue``, fleet-wide, until `resume`. Repeating has no effect."""
    broker.sadd(KEY, queue)


def resume(broker: redis.Redis, queue: str) -> None:
    """Consume ``queue`` again. Repeating has no effect."""
    broker.srem(KEY, queue)
