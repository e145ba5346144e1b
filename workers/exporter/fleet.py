"""What is asked of the broker about the fleet's queues: the part that all such questions have in common."""

from abc import ABC, abstractmethod

import redis

from workers.exporter.source import Readings, Source


class FleetQuestion(ABC):
    """One question and the gauges that show its answer.

    Args:
        broker: answers within its own deadline.
        queues: all of the fleet's.
    """

    def __init__(self, broker: redis.Redis, queues: list[str]) -> None:
        self._broker = broker
        self._queues = queues

    @property
    @abstractmethod
    def readings(self) -> tuple[Readings, ...]:
        """Everything that `read` shows."""

    @abstractmethod
    def read(self) -> None:
        """Ask and show. Raises redis.RedisError."""

    def sources(self) -> tuple[Source, ...]:
        """Of the exporter's."""
        return (Source("broker", self.read, self.readings),)
