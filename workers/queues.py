"""What waits in the queues and what workers hold of them, asked in one round trip.

It reads kombu's Redis layout: a queue is four lists, one a priority; what is taken and not settled stands in the hash
``unacked`` as ``[message, exchange, routing key]``. Issue 3's own transport brings its own layout, and this file changes.
"""

from typing import Any, NamedTuple

import orjson
import redis

from shared.clock import wall_seconds
from shared.producer import ACCEPTED_AT
from shared.topology import QUEUES

PRIORITIES = ("", "\x06\x163", "\x06\x166", "\x06\x169")
"""Ends of the names of a queue's lists; a plain producer's `priority` chooses one."""

# Counts by routing key on the server: the values are whole messages, and only their last few bytes matter.
IN_FLIGHT = """
local counts = {}
for _, taken in ipairs(redis.call('HVALS', KEYS[1])) do
  local queue = string.match(string.sub(taken, -100), '"([^"]*)"%]$')
  if queue then counts[queue] = (counts[queue] or 0) + 1 end
end
local answer = {}
for queue, count in pairs(counts) do answer[#answer + 1] = queue; answer[#answer + 1] = count end
return answer
"""


class QueueState(NamedTuple):
    """One queue.

    Args:
        depth: messages that wait.
        in_flight: messages that a worker holds.
        oldest_age_seconds: since the edge accepted the one that waits longest; None when nothing waits or it does not say.
    """

    name: str
    depth: int
    in_flight: int
    oldest_age_seconds: float | None


def depths(broker: redis.Redis) -> list[QueueState]:
    """Every queue, in the order of `topology.QUEUES`. Raises redis.RedisError when the broker does not answer."""
    pipeline = broker.pipeline(transaction=False)
    for queue in QUEUES:
        for priority in PRIORITIES:
            pipeline.llen(queue + priority)
            pipeline.lindex(queue + priority, -1)
    pipeline.eval(IN_FLIGHT, 1, "unacked")
    *answers, flat = pipeline.execute()
    in_flight = {name.decode(): count for name, count in zip(flat[::2], flat[1::2], strict=True)}
    now, width, states = wall_seconds(), 2 * len(PRIORITIES), []
    for index, queue in enumerate(QUEUES):
        mine = answers[index * width : (index + 1) * width]
        ages = [age for last in mine[1::2] if (age := _age(last, now)) is not None]
        states.append(QueueState(queue, sum(mine[::2]), in_flight.get(queue, 0), max(ages, default=None)))
    return states


def _age(message: bytes | None, now: float) -> float | None:
    # Anything may stand in a list: a stock client's message has no time, and garbage has no headers.
    try:
        accepted_at: Any = orjson.loads(message or b"")["headers"][ACCEPTED_AT]
        return round(max(0.0, now - float(accepted_at)), 3)
    except (ValueError, TypeError, LookupError):
        return None
