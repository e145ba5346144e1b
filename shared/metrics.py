"""Every metric, in one place. Prometheus text; names and labels are promises (README, "Metrics").

A process of a fleet shares its counters through files in `metrics_dir` (prometheus-client's multiprocess mode), so that a
scrape of any of them, or of the exporter, shows them all; without that directory each process counts for itself.
"""

import os
from pathlib import Path

from shared.settings import settings

# prometheus-client decides at import, once, whether counters live in files.
if settings().metrics_dir:
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = settings().metrics_dir

from prometheus_client import (
    CONTENT_TYPE_PLAIN_0_0_4,
    CollectorRegistry,
    Counter,
    Histogram,
    generate_latest,
    multiprocess,
)
from prometheus_client import Gauge as Gauge  # noqa: PLC0414 - says that others may import it from here

CONTENT_TYPE = CONTENT_TYPE_PLAIN_0_0_4
"""Of `exposition`. From here, because nobody may import prometheus-client before this module has set it up."""

REQUEST_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.2, 0.5, 1, 2.5, 5, 10)
"""Edges around the promises: acknowledgement 100 ms, request 200 ms, processing 500 ms."""

MESSAGES = Counter("headrace_messages_total", "Messages settled, by what became of them.", ["queue", "outcome"])
BATCH_SIZE = Histogram(
    "headrace_batch_size", "Messages in one batch.", ["queue"], buckets=(1, 2, 5, 10, 25, 50, 100, 200, 400, 1000)
)
BATCH_SECONDS = Histogram("headrace_batch_duration_seconds", "One batch in a child.", ["queue"], buckets=REQUEST_SECONDS)
END_TO_END_SECONDS = Histogram(
    "headrace_end_to_end_seconds", "From accepted to committed.", ["via"], buckets=(*REQUEST_SECONDS, 30, 60, 300, 1800)
)
REDELIVERIES = Counter("headrace_redeliveries_total", "Messages delivered again.", ["queue"])
INGRESS_SECONDS = Histogram("headrace_ingress_request_seconds", "One HTTP request.", ["route", "status"], buckets=REQUEST_SECONDS)
QUEUE_DEPTH = Gauge("headrace_queue_depth", "Messages waiting.", ["queue"], multiprocess_mode="mostrecent")
QUEUE_IN_FLIGHT = Gauge("headrace_queue_in_flight", "Messages claimed, not settled.", ["queue"], multiprocess_mode="mostrecent")
QUEUE_OLDEST_SECONDS = Gauge(
    "headrace_queue_oldest_age_seconds", "Age of the oldest waiting message.", ["queue"], multiprocess_mode="mostrecent"
)
DEAD_LETTERS = Gauge("headrace_dead_letters", "Dead letters kept.", ["queue"], multiprocess_mode="mostrecent")
EXPORTER_UP = Gauge(
    "headrace_exporter_up", "1 when the server answered the exporter.", ["target"], multiprocess_mode="mostrecent"
)


def exposition() -> bytes:
    """The metrics of this process, or of all that share `metrics_dir`, as Prometheus text."""
    if not settings().metrics_dir:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry)  # type: ignore[no-untyped-call]
    return generate_latest(registry)


def forget_process(pid: int) -> None:
    """Drop the live gauges of a process that ended; its counters stay, for a counter never goes back."""
    if settings().metrics_dir and Path(settings().metrics_dir).is_dir():
        multiprocess.mark_process_dead(pid)  # type: ignore[no-untyped-call]
