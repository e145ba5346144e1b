"""How many messages are in each lane, waiting or claimed: one round trip.

Claimed ones count: a worker holds as many as a burst has, and what it holds delays others as what waits does. The lists of lesser
priority, which only stock producers use, do not.
"""

from collections.abc import Sequence
from typing import cast

import redis

from shared.broker import keys


def read(broker: redis.Redis, lanes: Sequence[str]) -> dict[str, int]:
    """Lane -> messages, of those that are not empty. Raises redis.RedisError."""
    pipeline = broker.pipeline(transaction=False)  # a Redis that is full refuses MULTI
    for lane in lanes:
        pipeline.llen(lane)
    pipeline.hgetall(keys.HELD)  # last: a message claimed meanwhile counts twice rather than not at all
    *waiting, held = pipeline.execute()
    claimed = {lane.decode(): int(holder.rpartition(b" ")[2]) for lane, holder in cast("dict[bytes, bytes]", held).items()}
    depths = {lane: count + claimed.get(lane, 0) for lane, count in zip(lanes, waiting, strict=True)}
    return {lane: depth for lane, depth in depths.items() if depth}
