"""Tracing's bound: a stranger's header must not make a process trace everything."""

import pytest
from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF, ALWAYS_ON, ParentBased, Sampler
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator

from shared import otel
from shared.otel import Bounded


def theirs(number: int) -> Context:
    """The context of a caller who records."""
    return TraceContextTextMapPropagator().extract({"traceparent": f"00-{number + 1:032x}-00f067aa0ba902b7-01"}, Context())


def tracer(sampler: Sampler) -> trace.Tracer:
    return TracerProvider(sampler=sampler).get_tracer("test")


def test_only_so_many_traces_a_second_are_taken_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 10.0
    monkeypatch.setattr(otel, "monotonic_seconds", lambda: now)
    it = tracer(Bounded(ParentBased(ALWAYS_OFF), a_second_max=3))
    taken = [it.start_span("request", theirs(number)).is_recording() for number in range(5)]
    assert taken == [True] * 3 + [False] * 2
    now = 11.0
    assert it.start_span("request", theirs(9)).is_recording()


def test_parts_of_a_trace_that_was_taken_are_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(otel, "monotonic_seconds", lambda: 10.0)
    it = tracer(Bounded(ParentBased(ALWAYS_ON), a_second_max=1))
    request = it.start_span("request", Context())
    within = trace.set_span_in_context(request)
    assert [it.start_span("part", within).is_recording() for _ in range(5)] == [True] * 5
    assert not it.start_span("request", Context()).is_recording()
