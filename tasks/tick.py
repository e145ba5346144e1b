"""A task that beat sends: its effect happens once a tick, however often its message comes.

    @periodic("cache.warm")
    def warm() -> None: ...

The message of a tick carries when it was due. Before the function runs, the broker is asked whether this tick has begun before
(a redelivery, whose first run may have been cut short: the next tick makes good) or a later one was sent (a queue that stood
still: the last one does the work of all). A message without a tick, sent by a person, just runs.
"""

from collections.abc import Callable
from functools import lru_cache, wraps
from typing import Any, cast

import redis
from celery import Task

from shared.app import app
from shared.broker.script import BEGIN_TICK
from shared.log import get_logger
from shared.redis_client import connect
from shared.settings import settings

log = get_logger(__name__)

RUN = "run"


def periodic(name: str) -> Callable[[Callable[[], object]], Task]:
    """Register ``name``, an entry of `shared.schedule`, as an ordinary Celery task on the queue `maintenance`."""

    def register(function: Callable[[], object]) -> Task:
        @wraps(function)
        def run(due_ms: int | None = None) -> object:
            verdict = RUN if due_ms is None else begin(_broker(), name, due_ms)
            if verdict == RUN:
                return function()
            log.info("tick skipped", task=name, due_ms=due_ms, reason=verdict)
            return None

        return cast(Task, app.task(name=name, typing=False)(run))

    return register


def begin(broker: redis.Redis, name: str, due_ms: int) -> str:
    """``run`` for the first who asks for this tick; else ``repeated`` or ``overtaken``. Raises redis.RedisError."""
    answer: Any = BEGIN_TICK.run(broker, (name, due_ms))
    return answer.decode() if isinstance(answer, bytes) else str(answer)


@lru_cache(maxsize=1)
def _broker() -> redis.Redis:
    """A forked child's pool opens its own connections."""
    config = settings()
    return connect(config.required("broker_url"), timeout=config.broker_timeout_seconds, master=config.broker_master)
