"""What waits in the queues and what workers hold of them, asked in one round trip.

A queue is four plain lists, one a priority; what is taken and not settled stands in the hash of claims of its consumer
(`shared.broker.keys`).
"""

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, NamedTuple, Protocol, cast

import orjson
import redis

from shared.broker import keys
from shared.clock import monotonic_seconds, wall_seconds
from shared.envelope import ACCEPTED_AT
from shared.topology import kind_of


class QueueState(NamedTuple):
    """One queue.

    Args:
        depth: messages that wait.
        in_flight: messages that a worker holds.
        oldest_age_seconds: since the edge accepted the one that waits longest, or since it was seen to wait; None when nothing
            waits or nobody knows.
    """

    name: str
    depth: int
    in_flight: int
    oldest_age_seconds: float | None


class Watch(Protocol):
    """Knows since when messages wait that do not say so: `workers.exporter.marks`."""

    def ages(self, broker: redis.Redis, lists: Iterable[str], now: float, /) -> Mapping[str, float]: ...


def depths(broker: redis.Redis, queues: Sequence[str], watch: Watch | None = None) -> list[QueueState]:
    """The state of each of ``queues``. Raises redis.RedisError when the broker does not answer.

    Args:
        watch: asked for the ages that the messages do not tell.
    """
    consumers = cast("list[bytes]", broker.zrange(keys.CONSUMERS, 0, -1))
    lists = [name for queue in queues for name in keys.lists_of(queue)]
    pipeline = broker.pipeline(transaction=False)
    for name in lists:
        pipeline.llen(name)
        pipeline.lindex(name, -1)
    for consumer in consumers:
        pipeline.hkeys(keys.CLAIMS + consumer.decode())
    answers = pipeline.execute()
    now = wall_seconds()
    lengths = dict(zip(lists, answers[: 2 * len(lists) : 2], strict=True))
    ages = {name: age_of(last, now) for name, last in zip(lists, answers[1 : 2 * len(lists) : 2], strict=True) if last}
    if watch is not None:
        silent = [name for name, age in ages.items() if age is None]
        ages |= watch.ages(broker, silent, monotonic_seconds())
    in_flight = Counter(keys.queue_of(token.decode()) for tokens in answers[2 * len(lists) :] for token in tokens)
    return [_state(queue, lengths, in_flight[queue], ages) for queue in queues]


def _state(queue: str, lengths: Mapping[str, int], in_flight: int, ages: Mapping[str, float | None]) -> QueueState:
    mine = keys.lists_of(queue)
    known = [age for name in mine if (age := ages.get(name)) is not None]
    return QueueState(queue, sum(lengths[name] for name in mine), in_flight, max(known, default=None))


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


def age_of(message: bytes, now: float) -> float | None:
    """Seconds since the edge accepted a queued ``message``; None when it does not say."""
    # Anything may stand in a list: a stock client's message has no time, and garbage has no headers.
    try:
        accepted_at: Any = orjson.loads(message)["headers"][ACCEPTED_AT]
        return round(max(0.0, now - float(accepted_at)), 3)
    except (ValueError, TypeError, LookupError):
        return None
