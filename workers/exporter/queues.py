"""Of the broker's queues: what waits, since when, what workers hold, what is paused, delayed or set aside."""

import math
from collections import Counter

import redis

from shared.broker import keys
from shared.exporter_metrics import DELAYED, LANE_DEPTH, QUEUE_PAUSED, REFUSED
from shared.metrics import QUEUE_DEPTH, QUEUE_IN_FLIGHT, QUEUE_OLDEST_SECONDS
from shared.topology import kind_of, lane_number
from workers.exporter.fleet import FleetQuestion
from workers.exporter.marks import Marks
from workers.exporter.source import Readings
from workers.queues import QueueState, by_kind, depths


class Queues(FleetQuestion):
    """Reads them."""

    def __init__(self, broker: redis.Redis, queues: list[str]) -> None:
        super().__init__(broker, queues)
        self._marks = Marks()
        kinds = [(kind_of(queue),) for queue in queues]
        lanes = [_lane(queue) for queue in queues if lane_number(queue) is not None]
        self._depth, self._in_flight = Readings(QUEUE_DEPTH, kinds), Readings(QUEUE_IN_FLIGHT, kinds)
        self._oldest, self._paused = Readings(QUEUE_OLDEST_SECONDS, kinds), Readings(QUEUE_PAUSED, kinds)
        self._refused, self._lanes = Readings(REFUSED, kinds), Readings(LANE_DEPTH, lanes)
        self._delayed = Readings(DELAYED, [()])

    @property
    def readings(self) -> tuple[Readings, ...]:
        """All of them."""
        return self._depth, self._in_flight, self._oldest, self._lanes, self._paused, self._refused, self._delayed

    def read(self) -> None:
        """Ask and show."""
        states = depths(self._broker, self._queues, self._marks)
        self._lanes.show({_lane(state.name): state.depth for state in states if lane_number(state.name) is not None})
        kinds = by_kind(states)
        self._depth.show({(state.name,): state.depth for state in kinds})
        self._in_flight.show({(state.name,): state.in_flight for state in kinds})
        self._oldest.show({(state.name,): _age(state) for state in kinds})
        pipeline = self._broker.pipeline(transaction=False)
        pipeline.smembers(keys.PAUSED)
        pipeline.zcard(keys.DELAYED)
        for queue in self._queues:
            pipeline.llen(keys.REFUSED + queue)
        paused, delayed, *refused = pipeline.execute()
        self._paused.show({(kind,): count for kind, count in Counter(kind_of(queue.decode()) for queue in paused).items()})
        self._delayed.show({(): delayed})
        set_aside: Counter[str] = Counter()
        for queue, count in zip(self._queues, refused, strict=True):
            set_aside[kind_of(queue)] += count
        self._refused.show({(kind,): count for kind, count in set_aside.items()})


def _lane(queue: str) -> tuple[str, str]:
    return kind_of(queue), f"{lane_number(queue):02d}"


def _age(state: QueueState) -> float:
    return state.oldest_age_seconds if state.oldest_age_seconds is not None else math.nan if state.depth else 0
