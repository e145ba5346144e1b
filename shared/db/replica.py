"""A streaming replica that serves reads, as long as it is there and close behind.

How far behind it is, is measured at most once a second, in a thread of its own, so that no reader waits for it: the primary's
position in its log is asked first, the replica's afterwards. A replica that is at that position lags by nothing, however long ago
the last commit was. Else two upper bounds are known, and the smaller one counts: how long ago the primary was seen at a position
that the replica has reached (our own clock), and how old the last replayed commit is (the servers' clocks, which may differ).

A replica that fails opens a breaker (`headrace_breaker_state{target="replica"}`): it is left alone for a second and then tried by
a measurement, never by a reader.
"""

import math
import threading
from collections import deque
from collections.abc import Callable, Sequence
from typing import NamedTuple

from sqlalchemy import Engine, text
from sqlalchemy.exc import DBAPIError, SQLAlchemyError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from shared.breaker import Breaker, State
from shared.clock import monotonic_seconds
from shared.errors import HeadraceError
from shared.log import get_logger
from shared.metrics import DB_REPLICA_LAG_SECONDS

log = get_logger(__name__)

MEASURE_SECONDS = 1.0
"""Between two measurements: three statements a second and process."""

TRUST_SECONDS = 3.0
"""A measurement serves for so long; an older one says nothing, and reads go to the primary until there is a new one."""

SIGHTINGS_MAX = 120
"""Positions of the primary that are remembered: two minutes of them, beyond every sensible bound."""

PRIMARY = text("SELECT CAST(pg_current_wal_lsn() - CAST('0/0' AS pg_lsn) AS bigint)")

REPLICA = text("""
SELECT pg_is_in_recovery() AS follows, CAST(pg_last_wal_replay_lsn() - CAST('0/0' AS pg_lsn) AS bigint) AS position,
       CAST(extract(epoch FROM clock_timestamp() - pg_last_xact_replay_timestamp()) AS float8) AS age_seconds
""")


class NoReplica(HeadraceError):
    """The server follows nobody: it was promoted, or never was a replica. Correct HEADRACE_REPLICA_URL."""


class Sighting(NamedTuple):
    """Where the primary was, in bytes of its log, at a monotonic time."""

    at: float
    position: int


def lag_seconds(sightings: Sequence[Sighting], position: int, age_seconds: float | None, now: float) -> float:
    """How far a replica is behind at the most; infinite when nothing is known.

    Args:
        sightings: of the primary, the oldest first; the last one was taken before the replica was asked.
        position: what the replica has replayed.
        age_seconds: of the last replayed commit, by the servers' clocks; None: it replayed none.
        now: monotonic.
    """
    if sightings and position >= sightings[-1].position:
        return 0.0
    reached = next((now - each.at for each in reversed(sightings) if each.position <= position), math.inf)
    return max(0.0, min(reached, math.inf if age_seconds is None else age_seconds))


def in_thread(work: Callable[[], None]) -> None:
    """Run ``work`` on a thread that holds nobody up at the end of the process."""
    threading.Thread(target=work, name="replica", daemon=True).start()


class Replica:
    """Decides whether a read may go to the replica. Thread-safe.

    Args:
        primary: asked for its position.
        engine: the replica's.
        lag_seconds_max: the largest lag at which it serves.
        now: monotonic seconds.
        start: runs a measurement; a test may run it at once.
    """

    def __init__(
        self,
        primary: Engine,
        engine: Engine,
        *,
        lag_seconds_max: float,
        now: Callable[[], float] = monotonic_seconds,
        start: Callable[[Callable[[], None]], None] = in_thread,
    ) -> None:
        self.engine = engine
        self._primary = primary
        self._lag_seconds_max = lag_seconds_max
        self._now, self._start = now, start
        self._busy = threading.Lock()
        self._sightings: deque[Sighting] = deque(maxlen=SIGHTINGS_MAX)
        self._measured_at = self._asked_at = -math.inf
        self._lag = math.inf
        self._breaker = Breaker("replica", failures=1, open_seconds=MEASURE_SECONDS, clock=now)
        self._state = ""

    def refusal(self) -> str:
        """Why a read has to go to the primary: ``down``, ``lag``, ``unknown``; empty when the replica may serve it."""
        now = self._now()
        if now - self._asked_at >= MEASURE_SECONDS and self._busy.acquire(blocking=False):
            self._asked_at = now
            try:
                self._start(self._measure)
            except RuntimeError:  # no thread to be had: another reader tries again
                self._busy.release()
        if self._breaker.state is not State.CLOSED:
            return "down"
        if self._now() - self._measured_at > TRUST_SECONDS:
            return "unknown"
        return "lag" if self._lag > self._lag_seconds_max else ""

    def failed(self, error: BaseException) -> None:
        """A reader was let down: no read goes there until a measurement has succeeded."""
        self._breaker.failed()
        self._become("down", type(getattr(error, "orig", None) or error).__name__)
        DB_REPLICA_LAG_SECONDS.labels("replica").set(math.nan)

    def _measure(self) -> None:
        try:
            if not self._breaker.allows():
                return
            seen = self._see_primary()
            position, age_seconds = self._ask_replica()
            now = self._now()
            if seen:  # a primary that is away commits nothing: what was known of the lag can only have shrunk
                self._lag = lag_seconds(self._sightings, position, age_seconds, now)
                DB_REPLICA_LAG_SECONDS.labels("replica").set(self._lag)
            self._measured_at = now
            self._breaker.succeeded()
            self._become("serves" if self._lag <= self._lag_seconds_max else "lags", f"{self._lag:.3g} s behind")
        except PoolTimeout:
            return  # our own threads hold all connections, which says nothing of the servers
        except (SQLAlchemyError, NoReplica) as error:
            self.failed(error)
        finally:
            self._busy.release()

    def _see_primary(self) -> bool:
        try:
            at = self._now()
            with self._primary.connect() as connection:
                self._sightings.append(Sighting(at, connection.execute(PRIMARY).scalar_one()))
        except DBAPIError:
            return False
        return True

    def _ask_replica(self) -> tuple[int, float | None]:
        with self.engine.connect() as connection:
            row = connection.execute(REPLICA).one()
        if not row.follows:
            raise NoReplica("the server of HEADRACE_REPLICA_URL follows no primary")
        return row.position, row.age_seconds

    def _become(self, state: str, reason: str) -> None:
        if state != self._state:
            log.info("replica", state=state, reason=reason)
            self._state = state
