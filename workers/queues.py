"""What waits in the queues and what workers hold of them, asked in one round trip.

A queue is four plain lists, one a priority; what is taken and not settled stands in the hash of claims of its consumer
(`shared.broker.keys`).
"""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple, cast

import orjson
import redis

from shared.broker import keys
from shared.clock import wall_seconds
from shared.envelope import ACCEPTED_AT
from shared.topology import kind_of


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


def depths(broker: redis.Redis, queues: Sequence[str]) -> list[QueueState]:
    """The state of each of ``queues``. Raises redis.RedisError when the broker does not answer."""
    consumers = cast("list[bytes]", broker.zrange(keys.CONSUMERS, 0, -1))
    pipeline = broker.pipeline(transaction=False)
    for queue in queues:
        for name in keys.lists_of(queue):
            pipeline.llen(name)
            pipeline.lindex(name, -1)
    for consumer in consumers:
        pipeline.hkeys(keys.CLAIMS + consumer.decode())
    answers = pipeline.execute()
    width = 2 * len(keys.PRIORITY_STEPS)
    tokens = answers[len(queues) * width :]
    in_flight = Counter(keys.queue_of(token.decode()) for each in tokens for token in each)
    now, states = wall_seconds(), []
    for index, queue in enumerate(queues):
        mine = answers[index * width : (index + 1) * width]
        ages = [age for last in mine[1::2] if (age := _age(last, now)) is not None]
        states.append(QueueState(queue, sum(mine[::2]), in_flight[queue], max(ages, default=None)))
    return states


def by_kind(states: Iterable[QueueState]) -> list[QueueState]:
    """The same, the lanes of a kind and the queue of its plain producers added up."""
    states = list(states)
    sums = []
    for kind in dict.fromkeys(kind_of(state.name) for state in states):
        mine = [state for state in states if kind_of(state.name) == kind]
        ages = [state.oldest_age_seconds for state in mine if state.oldest_age_seconds is not None]
        depth, in_flight = sum(state.depth for state in mine), sum(state.in_flight for state in mine)
        sums.append(QueueState(kind, depth, in_flight, max(ages, default=None)))
    return sums


def _age(message: bytes | None, now: float) -> float | None:
    # Anything may stand in a list: a stock client's message has no time, and garbage has no headers.
    try:
        accepted_at: Any = orjson.loads(message or b"")["headers"][ACCEPTED_AT]
        return round(max(0.0, now - float(accepted_at)), 3)
    except (ValueError, TypeError, LookupError):
        return None
