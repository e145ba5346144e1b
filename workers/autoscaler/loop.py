"""The autoscaler's process: once a second it looks, decides, and says what it decided.

An error of the broker is no reason to change anything: the last decision stands until there is an answer again.
"""

import threading

import redis

from shared.clock import monotonic_seconds, wall_seconds
from shared.log import get_logger
from shared.metrics import AUTOSCALER_TARGET, CONTENT_TYPE, exposition
from shared.settings import Settings
from workers.autoscaler import sample
from workers.autoscaler.actuators import Actuator
from workers.autoscaler.meter import Meter, Seen
from workers.autoscaler.policy import Bounds, Decision, decide
from workers.autoscaler.tuning import tuned
from workers.pages import Page, Pages, verdict

INTERVAL_SECONDS = 1.0
"""Between two looks, some 4 ms of CPU each: of a step of load 5 s are needed to see its height."""

ROOM_SECONDS = 15.0
"""Between two looks at the host's memory, which cost some 20 ms for each worker."""

LIVE_SECONDS = 60.0
"""A look ends within its time-outs, some 10 s; a loop silent for longer hangs."""

log = get_logger(__name__)


class Autoscaler:
    """See the module.

    Args:
        config: bounds, queues, ports.
        broker: answers within a deadline.
        actuator: who is told.
    """

    def __init__(self, config: Settings, broker: redis.Redis, actuator: Actuator) -> None:
        self._config, self._broker, self._actuator = config, broker, actuator
        self._tuning = tuned(config.autoscaler_drain_seconds, config.autoscaler_stable_seconds)
        self._meter = Meter(config.batch_messages_max, least=config.autoscaler_workers_min, tuning=self._tuning)
        self._decision: Decision | None = None
        self._room: int | None = None
        self._room_at = float("-inf")
        self._kinds: set[str] = set()
        self._looked_at = monotonic_seconds()

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``. Raises ConfigurationError when its port cannot be listened on."""
        pages = {"/metrics": lambda: Page(exposition(), content_type=CONTENT_TYPE), "/livez": self.livez}
        port = self._config.autoscaler_port
        served = Pages(self._config.admin_host, port, pages, "HEADRACE_AUTOSCALER_PORT") if port else None
        while not stop.wait(INTERVAL_SECONDS):
            try:
                self.look(monotonic_seconds(), wall_seconds())
            except redis.RedisError as error:
                log.warning("the broker does not answer, nothing is changed", error=type(error).__name__)
            self._looked_at = monotonic_seconds()
        if served:
            served.close()

    def livez(self) -> Page:
        """503 when the loop hangs."""
        return verdict("the loop hangs" if monotonic_seconds() - self._looked_at > LIVE_SECONDS else "")

    def look(self, at: float, wall: float) -> Decision | None:
        """One look and decision; None before there is anything to decide by. Raises redis.RedisError."""
        taken = sample.take(self._broker, self._config.queues, at, wall)
        seen = self._meter.observe(taken)
        if seen is None:
            return None
        before = self._decision or Decision(self._actuator.wanted() or max(self._config.autoscaler_workers_min, seen.workers))
        self._decision = decide(before, seen, self._bounds(at), self._tuning)
        if self._decision.target != before.target:
            _say(before, self._decision, seen)
        self._actuator.set(self._decision.target)
        self._show(self._decision.target, seen.shares)
        return self._decision

    def _bounds(self, at: float) -> Bounds:
        if at - self._room_at >= ROOM_SECONDS:
            self._room, self._room_at = self._actuator.room(), at
        least = self._config.autoscaler_workers_min
        return Bounds(least, max(least, self._config.autoscaler_workers_max), self._room)

    def _show(self, target: int, shares: dict[str, float]) -> None:
        self._kinds |= shares.keys()
        for kind in self._kinds:
            AUTOSCALER_TARGET.labels(kind).set(target * shares.get(kind, 0.0))


def _say(before: Decision, after: Decision, seen: Seen) -> None:
    log.info(
        "more workers" if after.target > before.target else "fewer workers",
        before=before.target,
        target=after.target,
        reason=after.reason,
        arrivals=round(seen.arrivals, 1),
        served=round(seen.served, 1),
        service=round(seen.service, 1) if seen.service else None,
        backlog=seen.backlog,
        lag_seconds=round(seen.lag_seconds, 3),
        workers=seen.workers,
    )
