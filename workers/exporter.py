"""The exporter: what no single process knows, asked every few seconds and served as Prometheus text.

It shows its own gauges (queues, dead letters) together with the counters of every process that shares `metrics_dir`. When
a server does not answer, its gauges turn NaN, which Prometheus draws as a gap, and `headrace_exporter_up` of it turns 0.
"""

import math
import threading
from collections import Counter
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

import redis

from shared.clock import monotonic_seconds
from shared.db.engine import replica
from shared.db.outage import is_outage
from shared.db.pool import Role
from shared.db.session import read_session
from shared.errors import ConfigurationError
from shared.log import get_logger
from shared.metrics import (
    CONTENT_TYPE,
    DEAD_LETTERS,
    EXPORTER_UP,
    QUEUE_DEPTH,
    QUEUE_IN_FLIGHT,
    QUEUE_OLDEST_SECONDS,
    Gauge,
    exposition,
)
from shared.settings import settings
from shared.store import dead_letters
from shared.topology import KINDS, kind_of
from workers.queues import QueueState, by_kind, depths

INTERVAL_SECONDS = 5
"""Prometheus scrapes every 15 s by default; a refresh costs a few commands and one count."""
LIVE_SECONDS = 60
"""A refresh takes at most the sum of its time-outs, some 20 s; a loop silent for longer hangs."""
REQUEST_SECONDS_MAX = 10
"""A client slower than this is cut off."""

EXPORTER = Role("exporter", size=1, overflow=1, serves=True)
"""It asks one question at a time."""

log = get_logger(__name__)


class Exporter:
    """Refreshes the gauges and serves them until told to stop.

    Args:
        broker: answers within its own deadline.
    """

    def __init__(self, broker: redis.Redis) -> None:
        self._broker = broker
        self._refreshed_at = monotonic_seconds()
        self._queues = {gauge: set(KINDS) for gauge in (QUEUE_DEPTH, QUEUE_IN_FLIGHT, QUEUE_OLDEST_SECONDS, DEAD_LETTERS)}
        self._up: dict[str, bool] = {}

    def run(self, host: str, port: int, stop: threading.Event) -> None:
        """Serve on ``host:port`` until ``stop``. Raises ConfigurationError when it cannot listen there."""
        try:
            server = ThreadingHTTPServer((host, port), self._handler())
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; set HEADRACE_EXPORTER_PORT") from None
        with server:
            threading.Thread(target=server.serve_forever, name="metrics", daemon=True).start()
            log.info("exporter serves", host=host, port=port)
            while not stop.is_set():
                self.refresh()
                stop.wait(INTERVAL_SECONDS)
            server.shutdown()

    def refresh(self) -> None:
        """Ask the servers once; one that does not answer is no error."""
        self._ask("broker", self._read_queues, (QUEUE_DEPTH, QUEUE_IN_FLIGHT, QUEUE_OLDEST_SECONDS))
        self._ask("database", self._count_dead_letters, (DEAD_LETTERS,))
        if (it := replica()) is not None:
            it.refusal()  # has the lag measured, if nobody reads just now
        self._refreshed_at = monotonic_seconds()

    @property
    def live(self) -> bool:
        """False when the refresh loop hangs."""
        return monotonic_seconds() - self._refreshed_at < LIVE_SECONDS

    def _ask(self, target: str, read: Callable[[], None], gauges: tuple[Gauge, ...]) -> None:
        reason = ""
        try:
            read()
        except Exception as error:
            if not is_outage(error):
                raise
            reason = type(error).__name__
            for gauge in gauges:
                for queue in self._queues[gauge]:
                    gauge.labels(queue).set(math.nan)
        if self._up.get(target) is not (up := not reason):
            log.info("server answers" if up else "server does not answer", target=target, reason=reason)
        self._up[target] = up
        EXPORTER_UP.labels(target).set(up)

    def _read_queues(self) -> None:
        states = by_kind(depths(self._broker, settings().queues))
        self._set(QUEUE_DEPTH, {state.name: state.depth for state in states})
        self._set(QUEUE_IN_FLIGHT, {state.name: state.in_flight for state in states})
        self._set(QUEUE_OLDEST_SECONDS, {state.name: _age(state) for state in states})

    def _count_dead_letters(self) -> None:
        with read_session(fresh=True) as session:
            letters: Counter[str] = Counter()
            for queue, count in dead_letters.counts(session).items():
                letters[kind_of(queue)] += count
            self._set(DEAD_LETTERS, dict(letters))

    def _set(self, gauge: Gauge, values: dict[str, float] | dict[str, int]) -> None:
        """A queue that was seen once and is gone from the answer has nothing: 0, not its last value for ever."""
        self._queues[gauge].update(values)
        for queue in self._queues[gauge]:
            gauge.labels(queue).set(values.get(queue, 0))

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        exporter = self

        class Handler(BaseHTTPRequestHandler):
            timeout = REQUEST_SECONDS_MAX

            def do_GET(self) -> None:
                path = self.path.partition("?")[0]
                if path == "/metrics":
                    self._answer(HTTPStatus.OK, exposition(), CONTENT_TYPE)
                elif path == "/livez":
                    status = HTTPStatus.OK if exporter.live else HTTPStatus.SERVICE_UNAVAILABLE
                    self._answer(status, b"ok\n" if exporter.live else b"the refresh loop hangs\n", "text/plain")
                else:
                    self._answer(HTTPStatus.NOT_FOUND, b"see /metrics\n", "text/plain")

            def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
                self.send_response(status)
                self.send_header("Content-Type", content_type)
                self.send_header("Content-Length", str(len(body)))
                self.end_headers()
                self.wfile.write(body)

            def log_message(self, *args: object) -> None:
                """A scrape is no event."""

        return Handler


def _age(state: QueueState) -> float:
    """NaN when messages wait that do not say since when: a plain producer's."""
    return state.oldest_age_seconds if state.oldest_age_seconds is not None else math.nan if state.depth else 0
