"""Holds what the consumer says of itself against what waits in the broker, over a connection of its own.

A consumer that is found wedged begins anew, as after a lost connection: its claims go back in their order and it rejoins under
a new id. Only when that does not help either does `/livez` fail.
"""

import threading
from hashlib import blake2b
from typing import Any

import redis
from celery import bootsteps
from celery.worker.consumer.tasks import Tasks

from shared.broker import keys
from shared.broker.lanes import is_single_active
from shared.broker.standing import Standing
from shared.clock import monotonic_seconds
from shared.log import get_logger
from workers.liveness import NO_LEASE, Liveness

BEAT_SECONDS = 1.0
"""How often the loop says that it turns."""

LOOKS = 6
"""At the broker in the time after which a wait is a failure: one look that fails or is late changes nothing."""

log = get_logger(__name__)


class Watchdog:
    """A thread that looks until it is told to stop.

    Args:
        liveness: what it judges by.
        broker: a client of its own, whose answers have a deadline.
        look_seconds: between two looks.
    """

    def __init__(self, liveness: Liveness, broker: redis.Redis, look_seconds: float) -> None:
        self._liveness = liveness
        self._broker = broker
        self._look_seconds = look_seconds
        self._over = threading.Event()
        self.begin_anew = threading.Event()
        """Set when the consumer is to rebuild its connection."""

    def start(self) -> None:
        """From now on."""
        threading.Thread(target=self._run, name="headrace-watchdog", daemon=True).start()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def _run(self) -> None:
        while not self._over.wait(self._look_seconds):
            self.look()

    def look(self) -> None:
        """Look once. A broker that does not answer is no fault of this worker."""
        standing = self._liveness.judged(monotonic_seconds())
        try:
            heads = untaken(self._broker, standing) if standing else None
        except redis.RedisError as error:
            log.debug("no look at the broker", error=type(error).__name__)
            heads = None
        now = monotonic_seconds()
        self._liveness.observe(heads, now)
        if self._liveness.mend_due(now):
            queue, seconds = self._liveness.wedged()
            log.warning("consumer takes nothing, it begins anew", queue=queue, waited_seconds=round(seconds))
            self.begin_anew.set()


def untaken(broker: redis.Redis, standing: Standing) -> dict[str, bytes]:
    """What waits for a consumer of this standing though it could take it: queue -> a digest of its head.

    Raises redis.RedisError.
    """
    if not standing.has_room:
        return {}
    if not standing.consumer:
        return {NO_LEASE: b""}
    queues = sorted(standing.queues - standing.held)
    pipeline = broker.pipeline(transaction=False)
    pipeline.smembers(keys.PAUSED)
    pipeline.hgetall(keys.HELD)
    for queue in queues:
        for name in keys.lists_of(queue):
            pipeline.lindex(name, -1)
    paused, held, *answers = pipeline.execute(raise_on_error=False)
    for answer in (paused, held):
        if isinstance(answer, redis.RedisError):
            raise answer
    heads = {}
    for index, queue in enumerate(queues):
        width = len(keys.PRIORITY_STEPS)
        waiting = [each for each in answers[index * width : (index + 1) * width] if isinstance(each, bytes)]
        if waiting and queue.encode() not in paused and not _of_another(queue, held, standing.consumer):
            heads[queue] = blake2b(b"\0".join(waiting), digest_size=16).digest()
    return heads


def _of_another(queue: str, held: dict[bytes, bytes], consumer: str) -> bool:
    holder = held.get(queue.encode(), b"").decode().rpartition(" ")[0]
    return is_single_active(queue) and holder not in ("", consumer)


class BeatStep(bootsteps.StartStopStep):
    """Has the event loop say that it turns, and ends the connection when the watchdog wants it ended."""

    requires = (Tasks,)

    liveness: Liveness
    begin_anew: threading.Event
    _timer: Any = None

    def start(self, consumer: Any) -> None:
        """A connection is there."""
        self._beat(consumer)
        self._timer = consumer.timer.call_repeatedly(BEAT_SECONDS, self._beat, (consumer,))

    def stop(self, consumer: Any) -> None:
        """It is going, or the worker is."""
        if self._timer:
            self._timer.cancel()
        self.liveness.beat(monotonic_seconds(), "connecting")

    def _beat(self, consumer: Any) -> None:
        standing = consumer.task_consumer.channel.claimer.standing()
        self.liveness.beat(monotonic_seconds(), "consuming", standing)
        if self.begin_anew.is_set():
            self.begin_anew.clear()
            raise redis.ConnectionError("the consumer took nothing while work waited")  # Celery connects anew
