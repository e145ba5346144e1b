"""The exporter: what no single process knows, asked every few seconds and served as Prometheus text.

It shows its own gauges (queues, leases, servers) together with the counters of every process that shares `metrics_dir`. When
a server does not answer, its gauges turn NaN, which Prometheus draws as a gap, and `headrace_exporter_up` of it turns 0.
"""

import threading
from collections.abc import Iterable
from importlib.metadata import version

from shared.clock import monotonic_seconds, wall_seconds
from shared.db.outage import is_outage
from shared.exporter_metrics import BUILD, EXPORTER_REFRESHED
from shared.log import get_logger
from shared.metrics import CONTENT_TYPE, EXPORTER_UP, exposition, fold_dead_processes
from workers.exporter.source import Source
from workers.pages import Page, Pages, verdict

INTERVAL_SECONDS = 5
"""Prometheus scrapes every 15 s by default; a refresh costs some hundred commands and three queries."""
LIVE_SECONDS = 60
"""A refresh takes at most the sum of its time-outs, some 30 s; a loop silent for longer hangs."""

log = get_logger(__name__)


class Exporter:
    """Refreshes the gauges and serves them until told to stop.

    Args:
        sources: what to ask, in this order; several may share a target, whose first failure spares the rest of it.
        interval_seconds: between two refreshes.
    """

    def __init__(self, sources: Iterable[Source], interval_seconds: float = INTERVAL_SECONDS) -> None:
        self._sources = list(sources)
        self._interval_seconds = interval_seconds
        self._refreshed_at = monotonic_seconds()
        self._up: dict[str, bool] = {}
        BUILD.labels(version("headrace")).set(1)

    def run(self, host: str, port: int, stop: threading.Event) -> None:
        """Serve on ``host:port`` until ``stop``. Raises ConfigurationError when it cannot listen there."""
        answers = {
            "/metrics": lambda: Page(exposition(), content_type=CONTENT_TYPE),
            "/livez": lambda: verdict(self.fault()),
        }
        pages = Pages(host, port, answers, "HEADRACE_EXPORTER_PORT")
        fold_dead_processes()  # what the exporter before this one said ends with it
        log.info("exporter serves", host=host, port=port)
        while not stop.is_set():
            self.refresh()
            stop.wait(self._interval_seconds)
        pages.close()

    def refresh(self) -> None:
        """Ask every source once; a server that does not answer is no error."""
        reasons: dict[str, str] = {}
        for source in self._sources:
            if not reasons.get(source.target):
                reasons[source.target] = _asked(source)
            if reasons[source.target]:
                for readings in source.readings:
                    readings.unknown()
        for target, reason in reasons.items():
            if self._up.get(target) is not (up := not reason):
                log.info("server answers" if up else "server does not answer", target=target, reason=reason)
            self._up[target] = up
            EXPORTER_UP.labels(target).set(up)
        EXPORTER_REFRESHED.set(wall_seconds())
        self._refreshed_at = monotonic_seconds()

    def fault(self) -> str:
        """Why it is not alive, or empty."""
        return "" if monotonic_seconds() - self._refreshed_at < LIVE_SECONDS else "the refresh loop hangs"


def _asked(source: Source) -> str:
    try:
        source.read()
    except Exception as error:
        if not is_outage(error):
            raise
        return type(error).__name__
    return ""
