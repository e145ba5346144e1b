"""Every metric, in one place. Prometheus text; names and labels are promises (README, "Metrics").

A process of a fleet shares its counters through files in `metrics_dir` (prometheus-client's multiprocess mode), so that a
scrape of any of them, or of the exporter, shows them all; without that directory each process counts for itself. With
`HEADRACE_METRICS=off` nothing is counted (docs/decisions/0013-metrics-and-alerts.md).
"""

import os
from bisect import bisect_left
from collections import Counter as Tally
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import psutil

from shared import metric_files
from shared.settings import settings
from shared.silent_metric import SilentMetric

# prometheus-client decides at import, once, whether counters live in files.
if settings().counts_for_fleet:
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
from prometheus_client.mmap_dict import MmapedDict

if not settings().metrics:
    Counter = Gauge = Histogram = SilentMetric  # type: ignore[assignment,misc]

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
QUEUE_DEPTH = Gauge("headrace_queue_depth", "Messages waiting.", ["queue"], multiprocess_mode="livemostrecent")
QUEUE_IN_FLIGHT = Gauge(
    "headrace_queue_in_flight", "Messages claimed, not settled.", ["queue"], multiprocess_mode="livemostrecent"
)
QUEUE_OLDEST_SECONDS = Gauge(
    "headrace_queue_oldest_age_seconds", "Age of the oldest waiting message.", ["queue"], multiprocess_mode="livemostrecent"
)
DEAD_LETTERS = Gauge("headrace_dead_letters", "Dead letters kept.", ["queue"], multiprocess_mode="livemostrecent")
QUERY_SECONDS = Histogram("headrace_db_query_seconds", "One statement.", ["query"], buckets=REQUEST_SECONDS)
SLOW_QUERIES = Counter("headrace_db_slow_queries_total", "Statements slower than database_slow_ms.", ["query"])
REPEATED_QUERIES = Counter("headrace_db_repeated_queries_total", "Runs of one statement again and again in a batch.", ["task"])
BATCH_STATEMENTS = Histogram(
    "headrace_db_batch_statements", "Statements that one batch ran.", ["task"], buckets=(1, 2, 5, 10, 20, 50, 100, 1000)
)
PRUNED = Counter("headrace_pruned_rows_total", "Rows deleted because of their age.", ["table"])

# Each has a label, also where one value is all there is: an unlabelled metric would leave a file of every command line tool.
DB_POOL_CONNECTIONS = Gauge(
    "headrace_db_pool_connections", "Connections open, by state.", ["server", "state"], multiprocess_mode="livesum"
)
DB_POOL_WAIT_SECONDS = Histogram(
    "headrace_db_pool_wait_seconds",
    "From asking for a connection to having a healthy one.",
    ["server"],
    buckets=(0.00005, 0.0001, 0.00025, 0.0005, *REQUEST_SECONDS),
)
DB_POOL_EVENTS = Counter("headrace_db_pool_events_total", "What happened to pooled connections.", ["server", "event"])
DB_RERUNS = Counter("headrace_db_reruns_total", "Transactions run again, by cause.", ["cause"])
DB_READS = Counter("headrace_db_reads_total", "Reads that a replica could serve, by who did and why.", ["server", "reason"])
DB_REPLICA_LAG_SECONDS = Gauge(
    "headrace_db_replica_lag_seconds",
    "How far the replica is behind; NaN while it does not answer.",
    ["server"],
    multiprocess_mode="livemostrecent",
)

AUTOSCALER_TARGET = Gauge(
    "headrace_autoscaler_target",
    "Store workers wanted, shared out by the queues that want them; the sum is the number.",
    ["queue"],
    multiprocess_mode="livemostrecent",
)
EXPORTER_UP = Gauge(
    "headrace_exporter_up", "1 when the server answered the exporter.", ["target"], multiprocess_mode="livemostrecent"
)
WORKER_PSS = Gauge(
    "headrace_worker_pss_bytes",
    "Proportional set size of one process of a worker: its own pages, and its part of those it shares.",
    ["worker", "process"],
    multiprocess_mode="livemostrecent",
)
WORKER_MEMORY_MAX = Gauge(
    "headrace_worker_memory_max_bytes",
    "What a worker's processes may hold together before its memory guard acts (HEADRACE_WORKER_MEMORY_MB).",
    ["worker"],
    multiprocess_mode="livemostrecent",
)
WORKER_RECYCLES = Counter(
    "headrace_worker_recycles_total", "Children replaced, and workers that stopped, for their memory.", ["reason"]
)

BREAKER_STATE = Gauge(
    "headrace_breaker_state",
    "0 closed, 1 half open, 2 open; the worst of all processes.",
    ["target"],
    multiprocess_mode="livemax",
)
CACHE_REQUESTS = Counter(
    "headrace_cache_requests_total",
    "Keys asked for: of tier l1 (the process) and l2 (Redis) hit or miss; of source loaded, failed, or stale while it failed.",
    ["cache", "tier", "result"],
)
CACHE_SECONDS = Histogram(
    "headrace_cache_operation_seconds",
    "One operation of the cache's Redis, which is tier l2.",
    ["tier", "operation"],
    buckets=(0.0001, 0.00025, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5),
)
CACHE_EVICTIONS = Counter("headrace_cache_evictions_total", "Entries that others pushed out of a process.", ["cache"])
CACHE_INVALIDATIONS = Counter("headrace_cache_invalidations_total", "Invalidations that reached a process.", ["cache"])
CACHE_ENTRIES = Gauge("headrace_cache_entries", "Entries in the processes.", ["cache"], multiprocess_mode="livesum")
CACHE_BYTES = Gauge("headrace_cache_bytes", "Bytes of these, as encoded.", ["cache"], multiprocess_mode="livesum")


def observe_all(histogram: Any, values: Sequence[float]) -> None:
    """``histogram.observe`` for each of ``values``, at the price of one: a batch has hundreds.

    Args:
        histogram: one without labels, or what `labels` gave.
    """
    if isinstance(histogram, SilentMetric) or not values:
        return
    # prometheus-client keeps a count for each bucket, not added up; a test holds this to what `observe` does.
    histogram._sum.inc(sum(values))
    for bucket, count in Tally(bisect_left(histogram._upper_bounds, value) for value in values).items():
        histogram._buckets[bucket].inc(count)


def exposition() -> bytes:
    """The metrics of this process, or of all that share `metrics_dir`, as Prometheus text."""
    if not settings().counts_for_fleet:
        return generate_latest()
    registry = CollectorRegistry()
    multiprocess.MultiProcessCollector(registry, settings().metrics_dir)  # type: ignore[no-untyped-call]
    with metric_files.held(Path(settings().metrics_dir), to_read=True):
        return generate_latest(registry)


def forget_process(pid: int) -> None:
    """Drop the live gauges of a process that ended; its counters stay, for a counter never goes back."""
    if settings().metrics_dir and Path(settings().metrics_dir).is_dir():
        multiprocess.mark_process_dead(pid, settings().metrics_dir)  # type: ignore[no-untyped-call]


def fold_dead_processes() -> bool:
    """Fold the files of processes that ended into one of each kind, and drop their live gauges.

    False when a scrape is reading them just now, so that it is to be tried again.
    """
    directory = Path(settings().metrics_dir)
    if not settings().metrics_dir or not directory.is_dir():
        return True
    for pid in metric_files.pids(directory):
        if not psutil.pid_exists(pid):
            forget_process(pid)
    return metric_files.fold(directory, lambda pid: not psutil.pid_exists(pid), MmapedDict)


def recycles() -> dict[str, int]:
    """How many children and workers of the fleet that shares `metrics_dir` were replaced for their memory, by reason."""
    return {labels["reason"]: int(value) for labels, value in counted("headrace_worker_recycles_total")}


def counted(name: str) -> list[tuple[dict[str, str], float]]:
    """A counter of the fleet that shares `metrics_dir`, whole name, as labels and value; empty when no fleet does here."""
    directory = Path(settings().metrics_dir)
    if not settings().metrics_dir or not directory.is_dir():
        return []
    with metric_files.held(directory, to_read=True):
        families = list(multiprocess.MultiProcessCollector(None, str(directory)).collect())  # type: ignore[no-untyped-call]
    samples = [sample for family in families for sample in family.samples]
    return [(each.labels, each.value) for each in samples if each.name == name]
