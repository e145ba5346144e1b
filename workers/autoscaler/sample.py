"""What the broker knows of a fleet's load at one moment: all that the autoscaler decides by, and nothing that only some
deployments have. One round trip and a second short one; some 4 ms of CPU.

Paused queues count for nothing: no worker could help them. Nor do delayed messages, before they are due.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple, cast

import redis

from shared.broker import keys
from shared.topology import MESSAGES, WEBHOOKS, kind_of
from workers.queues import age_of


class Sample(NamedTuple):
    """The load.

    Args:
        at: when it was taken, by a monotonic clock.
        settled: kind -> messages settled since the broker was new.
        waiting: kind -> messages in lists.
        in_flight: messages that workers hold.
        oldest_seconds: age of the oldest waiting message; 0 when none waits or none says.
        workers: consumers with a lease that read lanes.
    """

    at: float
    settled: Mapping[str, int]
    waiting: Mapping[str, int]
    in_flight: int
    oldest_seconds: float
    workers: int

    @property
    def backlog(self) -> int:
        """Messages taken and not settled."""
        return sum(self.waiting.values()) + self.in_flight


def take(broker: redis.Redis, queues: Sequence[str], at: float, wall: float) -> Sample:
    """Ask the broker. Raises redis.RedisError.

    Args:
        broker: answers are bytes, within a deadline.
        queues: of the fleet.
        at: now, by the monotonic clock.
        wall: now, in seconds since 1970: ages are counted from the edge's clock.
    """
    pipeline = broker.pipeline(transaction=False)
    pipeline.zrangebyscore(keys.CONSUMERS, "(0", "+inf")
    pipeline.hgetall(keys.CONSUMING)
    pipeline.hgetall(keys.SETTLED)
    pipeline.smembers(keys.PAUSED)
    for queue in queues:
        for name in keys.lists_of(queue):
            pipeline.llen(name)
        pipeline.lindex(queue, -1)
    consumers, consuming, settled, paused, *answers = pipeline.execute(raise_on_error=False)
    for answer in (consumers, consuming, settled, paused):
        if isinstance(answer, redis.RedisError):
            raise answer
    waiting, oldest = _waiting(queues, answers, paused, wall)
    return Sample(
        at,
        {name.decode(): int(count) for name, count in settled.items()},
        waiting,
        _in_flight(broker, consumers),
        oldest,
        sum(1 for consumer in consumers if _reads_lanes(consuming.get(consumer, b""))),
    )


def _waiting(queues: Sequence[str], answers: list[Any], paused: set[bytes], wall: float) -> tuple[Counter[str], float]:
    width = len(keys.PRIORITY_STEPS) + 1
    waiting: Counter[str] = Counter()
    ages = [0.0]
    for index, queue in enumerate(queues):
        *lengths, head = answers[index * width : (index + 1) * width]
        if queue.encode() in paused:
            continue
        waiting[kind_of(queue)] += sum(length for length in lengths if isinstance(length, int))  # else it is no list
        ages.append((age_of(head, wall) if isinstance(head, bytes) else None) or 0.0)
    return waiting, max(ages)


def _in_flight(broker: redis.Redis, consumers: Sequence[bytes]) -> int:
    pipeline = broker.pipeline(transaction=False)
    for consumer in consumers:
        pipeline.hlen(keys.CLAIMS + consumer.decode())
    return sum(cast("list[int]", pipeline.execute()))


def _reads_lanes(single_active: bytes) -> bool:
    return any(queue.split(".")[0] in (MESSAGES, WEBHOOKS) for queue in single_active.decode().split())
