"""Of the workers as the broker sees them: whose lease stands, and which lanes nobody who lives is there for."""

from collections import Counter
from collections.abc import Iterable
from typing import NamedTuple

import redis

from shared.broker import keys
from shared.broker.lanes import assigned, is_single_active
from shared.exporter_metrics import CONSUMERS, LANES_WITHOUT_OWNER
from shared.topology import kind_of
from workers.exporter.fleet import FleetQuestion
from workers.exporter.source import Readings


class Leases(NamedTuple):
    """What stands in the broker.

    Args:
        now_ms: its clock.
        ends_ms: consumer id -> the end of its lease.
        reads: consumer id -> the single-active queues it reads.
    """

    now_ms: int
    ends_ms: dict[str, float]
    reads: dict[str, frozenset[str]]


def live(leases: Leases) -> list[str]:
    """Consumers whose lease stands and who read lanes; a stopping worker that only finishes batches is none."""
    return [consumer for consumer, ends in leases.ends_ms.items() if ends > leases.now_ms and leases.reads.get(consumer)]


def without_owner(leases: Leases, queues: Iterable[str]) -> list[str]:
    """The single-active ones of ``queues`` that no live consumer is to claim from.

    Shared out as the workers do it (`shared.broker.lanes`), so a dead one's lanes count until another has taken its claims
    away.
    """
    members = {consumer: leases.reads.get(consumer, frozenset()) for consumer, ends in leases.ends_ms.items() if ends > 0}
    owned = {queue for consumer in live(leases) for queue in assigned(consumer, members)}
    return [queue for queue in queues if is_single_active(queue) and queue not in owned]


class Consumers(FleetQuestion):
    """Reads them."""

    def __init__(self, broker: redis.Redis, queues: list[str]) -> None:
        super().__init__(broker, queues)
        kinds = {(kind_of(queue),) for queue in queues if is_single_active(queue)}
        self._live, self._orphans = Readings(CONSUMERS, [()]), Readings(LANES_WITHOUT_OWNER, kinds)

    @property
    def readings(self) -> tuple[Readings, ...]:
        """All of them."""
        return self._live, self._orphans

    def read(self) -> None:
        """Ask and show."""
        leases = self._leases()
        self._live.show({(): len(live(leases))})
        orphans = Counter(kind_of(queue) for queue in without_owner(leases, self._queues))
        self._orphans.show({(kind,): count for kind, count in orphans.items()})

    def _leases(self) -> Leases:
        pipeline = self._broker.pipeline(transaction=False)
        pipeline.time()
        pipeline.zrange(keys.CONSUMERS, 0, -1, withscores=True)
        pipeline.hgetall(keys.CONSUMING)
        (seconds, micros), ends, reads = pipeline.execute()
        return Leases(
            int(seconds) * 1000 + int(micros) // 1000,
            {consumer.decode(): float(score) for consumer, score in ends},
            {consumer.decode(): frozenset(queues.decode().split()) for consumer, queues in reads.items()},
        )
