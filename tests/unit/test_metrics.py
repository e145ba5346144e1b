"""The metrics' own promises: many observations at the price of one, silence when they are off."""

import os
import subprocess
import sys

from hypothesis import given
from hypothesis import strategies as st
from prometheus_client import CollectorRegistry, Histogram

from shared.metrics import REQUEST_SECONDS, observe_all


@given(st.lists(st.one_of(st.floats(0, 20, allow_nan=False), st.sampled_from(REQUEST_SECONDS))))
def test_observing_many_values_at_once_is_observing_each(values: list[float]) -> None:
    registry = CollectorRegistry()
    one_by_one = Histogram("a", "", buckets=REQUEST_SECONDS, registry=registry)
    at_once = Histogram("b", "", buckets=REQUEST_SECONDS, registry=registry)
    for value in values:
        one_by_one.observe(value)
    observe_all(at_once, values)
    for suffix in ("_count", "_sum"):
        assert abs((registry.get_sample_value(f"a{suffix}") or 0) - (registry.get_sample_value(f"b{suffix}") or 0)) < 1e-6
    for edge in (*map(float, REQUEST_SECONDS), "+Inf"):
        label = {"le": str(edge)}
        assert registry.get_sample_value("a_bucket", label) == registry.get_sample_value("b_bucket", label)


def test_metrics_that_are_off_take_every_call_and_show_nothing() -> None:
    program = """
from shared import metrics
metrics.MESSAGES.labels("messages", "done").inc(3)
metrics.BATCH_SECONDS.labels("messages").observe(1)
metrics.observe_all(metrics.END_TO_END_SECONDS.labels("api"), [1.0])
metrics.QUEUE_DEPTH.labels("messages").set(1)
print(metrics.exposition().decode())
"""
    environment = {**os.environ, "HEADRACE_METRICS": "off", "HEADRACE_METRICS_DIR": ""}
    ended = subprocess.run([sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True)
    assert "headrace_" not in ended.stdout
