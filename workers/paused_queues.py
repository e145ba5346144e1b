"""A worker obeys `headrace queue pause`: it looks at the paused set every second and stops or resumes consuming."""

from typing import Any

import redis
from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from shared.log import get_logger
from shared.pause import paused
from shared.settings import settings

LOOK_SECONDS = 1.0
"""How soon a pause takes effect; one round trip of 0.1 ms a second."""

log = get_logger(__name__)


class PausedQueues(bootsteps.StartStopStep):
    """Celery's consumer, stopped from taking what is paused; what it holds already is finished."""

    requires = (Tasks,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        config = settings()
        self._broker = redis.Redis.from_url(config.required("broker_url"), socket_timeout=1, socket_connect_timeout=1)
        self._timer: Any = None
        self._paused: frozenset[str] = frozenset()

    def start(self, consumer: Any) -> None:
        """Look now, before the first message, and then again and again."""
        self._paused = frozenset()  # a new connection consumes everything
        self._look(consumer)
        self._timer = consumer.timer.call_repeatedly(LOOK_SECONDS, self._look, (consumer,))

    def stop(self, consumer: Any) -> None:
        """No more looking on this connection."""
        if self._timer is not None:
            consumer.timer.cancel(self._timer)
            self._timer = None

    def _look(self, consumer: Any) -> None:
        try:
            now = paused(self._broker)
        except redis.RedisError:
            return  # the consumer's own connection finds out; until then nothing changes
        for queue in now - self._paused:
            log.info("queue paused", queue=queue)
            consumer.cancel_task_queue(queue)
        for queue in self._paused - now:
            log.info("queue resumed", queue=queue)
            consumer.add_task_queue(queue)
        self._paused = now
