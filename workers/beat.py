"""Beat: sends each entry of the schedule once a tick, however many beats there are.

There is no leader and no lock. A tick is known by its entry and the instant at which it was due, both the same for every beat;
one script marks it as sent and queues its message (`shared/broker/scripts/tick.lua`). So a second beat is a standby that costs a
few commands a minute, and one that was paused or killed can do no harm (docs/decisions/0009-beat.md).

Time is the broker's. Between ticks beat sleeps; when the broker is away it tries again, and sends the last tick that was due
meanwhile, not those before it.
"""

import threading
from collections.abc import Sequence

import orjson
import redis

from shared.broker.script import TICK
from shared.envelope import fill, mould, stamp
from shared.log import get_logger
from shared.retry import backoff_seconds
from shared.schedule import Entry, tick_id
from shared.topology import MAINTENANCE

SLEEP_SECONDS_MAX = 10.0
"""The broker's clock is asked at least this often: should it jump, ticks are late by no more than that."""
RETRY_SECONDS_FIRST = 0.5
RETRY_SECONDS_MAX = 5.0
"""While the broker is away; a tick is at most this late after it is back."""
EARLY_SECONDS = 0.002
"""Slept beyond the instant, for it must have come by the server's clock too."""

log = get_logger(__name__)


class Beat:
    """One beat.

    Args:
        broker: answers within its own deadline.
        schedule: what to send.
    """

    def __init__(self, broker: redis.Redis, schedule: Sequence[Entry]) -> None:
        self._broker = broker
        self._schedule = schedule
        self._sent: dict[str, int] = {}

    def run(self, stop: threading.Event) -> None:
        """Until ``stop``; an outage of the broker is waited for."""
        failures = 0
        while not stop.is_set():
            try:
                pause = self.look()
                if failures:
                    log.info("broker answers again")
                failures = 0
            except redis.RedisError as error:
                failures += 1
                pause = backoff_seconds(failures, first=RETRY_SECONDS_FIRST, most=RETRY_SECONDS_MAX)
                if failures == 1:
                    log.warning("broker does not answer, ticks wait", reason=type(error).__name__)
            stop.wait(pause)

    def look(self) -> float:
        """Send what is due; returns the seconds to sleep. Raises redis.RedisError."""
        now = self._now_ms()
        for entry in self._schedule:
            due = entry.due_ms(now)
            if self._sent.get(entry.task) != due:
                if self._send(entry, due):
                    log.info("tick sent", task=entry.task, due_ms=due)
                self._sent[entry.task] = due  # by us or by another beat
        pause = min((entry.due_ms(now) + entry.period_ms - now for entry in self._schedule), default=10**9) / 1000
        return min(SLEEP_SECONDS_MAX, pause + EARLY_SECONDS)

    def _now_ms(self) -> int:
        seconds, micros = self._broker.time()
        return int(seconds) * 1000 + int(micros) // 1000

    def _send(self, entry: Entry, due_ms: int) -> bool:
        form = mould(entry.task, MAINTENANCE, "beat")
        payload = fill(form, orjson.dumps(due_ms), stamp(due_ms / 1000), tick_id(entry.task, due_ms).encode())
        return bool(TICK.run(self._broker, (entry.task, due_ms, entry.period_ms, MAINTENANCE, payload)))
