"""OpenTelemetry behind `shared.tracing`; imported only when tracing is on.

A request that is traced gives a span of kind SERVER. Each traced message of a batch gives one of kind CONSUMER in the trace
of its request, from its claim to the commit; the batch with its transaction and statements stands below the first of them and
is linked to all. So every trace reaches the commit, and the batch is recorded once.
"""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from importlib.metadata import version
from typing import Any

from opentelemetry import trace
from opentelemetry.context import Context
from opentelemetry.exporter.otlp.proto.http.trace_exporter import OTLPSpanExporter
from opentelemetry.sdk.resources import Resource
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import BatchSpanProcessor
from opentelemetry.sdk.trace.sampling import Decision, ParentBased, Sampler, SamplingResult, TraceIdRatioBased
from opentelemetry.trace import Link, SpanKind, StatusCode
from opentelemetry.trace.propagation.tracecontext import TraceContextTextMapPropagator
from sqlalchemy import Engine, event

from shared.clock import monotonic_seconds
from shared.db import queries
from shared.log import bound

SEND_SECONDS_MAX = 2.0
"""For a collector that does not answer; then the spans are dropped, and a process that ends does not wait longer."""
SEND_EVERY_MS = 1_000
SPANS_MAX = 4_096
"""Spans that wait to be sent, 4 MB; more are dropped."""
REQUESTS_A_SECOND_MAX = 200
"""Traced by one process, whatever the callers ask for: a stranger's ``traceparent`` must not cost a core."""

_propagator = TraceContextTextMapPropagator()


class Otel:
    """The tracer of one process.

    Args:
        process: see `tracing.configure`.
        url: the collector's OTLP/HTTP base.
        ratio: of the requests whose caller does not say, 0 to 1.
    """

    def __init__(self, process: str, url: str, ratio: float) -> None:
        resource = Resource.create({"service.name": f"headrace-{process}", "service.version": version("headrace")})
        self._provider = TracerProvider(resource=resource, sampler=Bounded(ParentBased(TraceIdRatioBased(ratio))))
        exporter = OTLPSpanExporter(endpoint=f"{url.rstrip('/')}/v1/traces", timeout=SEND_SECONDS_MAX)
        self._provider.add_span_processor(
            BatchSpanProcessor(exporter, max_queue_size=SPANS_MAX, schedule_delay_millis=SEND_EVERY_MS)
        )
        self._tracer = self._provider.get_tracer("headrace")
        self._statements = _Statements(self._tracer)

    def close(self) -> None:
        """See `tracing.close`."""
        self._statements.stop()
        self._provider.force_flush(int(SEND_SECONDS_MAX * 1000))
        self._provider.shutdown()

    @contextmanager
    def part(self, name: str, attributes: Mapping[str, Any]) -> Iterator[Any]:
        """See `tracing.span`."""
        if not trace.get_current_span().is_recording():
            yield None
            return
        with self._tracer.start_as_current_span(name, attributes=dict(attributes), record_exception=False) as span:
            yield span

    @contextmanager
    def request(self, method: str, headers: Sequence[tuple[bytes, bytes]]) -> Iterator[Any]:
        """See `tracing.request_span`."""
        told = {
            name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name in (b"traceparent", b"tracestate")
        }
        context = _propagator.extract(told, Context())
        options = {"kind": SpanKind.SERVER, "record_exception": False, "set_status_on_exception": False}
        with self._tracer.start_as_current_span(method, context, **options) as span, _bound_to(span):  # type: ignore[arg-type]
            yield span

    def describe(self, span: trace.Span, method: str, route: str, status: int) -> None:
        """See `tracing.describe_request`."""
        span.update_name(f"{method} {route}")
        span.set_attributes({"http.request.method": method, "http.route": route, "http.response.status_code": status})
        if status >= 500:
            span.set_status(StatusCode.ERROR)

    @contextmanager
    def batch(
        self, name: str, members: Iterable[tuple[Mapping[str, Any], float]], attributes: Mapping[str, Any]
    ) -> Iterator[str | None]:
        """See `tracing.batch_span`."""
        parents = [(context, claimed_at) for headers, claimed_at in members if (context := _sampled(headers)) is not None]
        if not parents:
            yield None
            return
        spans = [
            self._tracer.start_span(f"{name} message", context, SpanKind.CONSUMER, start_time=int(claimed_at * 1e9))
            for context, claimed_at in parents
        ]
        first = trace.set_span_in_context(spans[0])
        links = [Link(span.get_span_context()) for span in spans]
        batch = self._tracer.start_span(f"{name} batch", first, attributes=dict(attributes), links=links)
        with ExitStack() as ends:
            for span in (*spans, batch):
                ends.callback(span.end)
            for span in spans[1:]:
                span.add_link(batch.get_span_context())
            ends.enter_context(_bound_to(batch))
            ends.enter_context(trace.use_span(batch, record_exception=False))
            try:
                yield f"{batch.get_span_context().trace_id:032x}"
            except BaseException as error:
                for span in (*spans, batch):
                    span.set_status(StatusCode.ERROR, type(error).__name__)
                raise


class Bounded(Sampler):
    """As another sampler says, but at most so many traces a second begin in this process, or are continued from outside."""

    def __init__(self, sampler: Sampler, a_second_max: int = REQUESTS_A_SECOND_MAX) -> None:
        self._sampler = sampler
        self._most = a_second_max
        self._second = 0
        self._begun = 0

    def should_sample(self, parent_context: Context | None, *details: Any, **more: Any) -> SamplingResult:
        """OpenTelemetry's question."""
        result = self._sampler.should_sample(parent_context, *details, **more)
        parent = trace.get_current_span(parent_context).get_span_context()
        if result.decision is Decision.DROP or (parent.is_valid and not parent.is_remote):
            return result
        second = int(monotonic_seconds())
        self._second, self._begun = second, self._begun + 1 if second == self._second else 1
        return result if self._begun <= self._most else SamplingResult(Decision.DROP)

    def get_description(self) -> str:
        """OpenTelemetry's question."""
        return f"at most {self._most}/s of {self._sampler.get_description()}"


class _Statements:
    """A span for each SQL statement of a traced batch or request, called by its name (`shared.db.queries`) or its first word.

    Never its values.
    """

    def __init__(self, tracer: trace.Tracer) -> None:
        self._tracer = tracer
        self._listeners: dict[str, Callable[..., Any]] = {
            "before_cursor_execute": self._begin,
            "after_cursor_execute": self._end,
            "handle_error": self._fail,
            "commit": _note_commit,
        }
        for name, listener in self._listeners.items():
            event.listen(Engine, name, listener)

    def stop(self) -> None:
        """No more of them."""
        for name, listener in self._listeners.items():
            event.remove(Engine, name, listener)

    def _begin(self, _connection: Any, _cursor: Any, statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if context is not None and trace.get_current_span().is_recording():
            verb = statement.split(maxsplit=1)[0].upper() if statement.strip() else "SQL"
            name = queries.name_of(context)
            attributes = {"db.system.name": "postgresql", "db.operation.name": verb}
            context._headrace_span = self._tracer.start_span(
                verb if name == queries.UNNAMED else name, kind=SpanKind.CLIENT, attributes=attributes
            )

    def _end(self, _connection: Any, _cursor: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
        if span := getattr(context, "_headrace_span", None):
            span.end()

    def _fail(self, error: Any) -> None:
        if span := getattr(error.execution_context, "_headrace_span", None):
            span.set_status(StatusCode.ERROR, type(error.original_exception).__name__)
            span.end()


def _note_commit(_connection: Any) -> None:
    trace.get_current_span().add_event("commit")


def _sampled(headers: Mapping[str, Any]) -> Context | None:
    """The context that a message carries, when whoever sent it records it."""
    told = headers.get("traceparent")
    if not isinstance(told, str):
        return None
    context = _propagator.extract({"traceparent": told}, Context())
    return context if trace.get_current_span(context).get_span_context().trace_flags.sampled else None


@contextmanager
def _bound_to(span: trace.Span) -> Iterator[None]:
    """Log lines of the block name the trace."""
    recorded = span.get_span_context() if span.is_recording() else None
    with bound(trace_id=f"{recorded.trace_id:032x}" if recorded else ""):
        yield
