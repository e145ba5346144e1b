"""A collector for OpenTelemetry: takes spans over OTLP/HTTP and keeps them."""

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import NamedTuple

from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest
from opentelemetry.proto.trace.v1.trace_pb2 import Span as WireSpan


class Span(NamedTuple):
    """One span; ids in hex, times in nanoseconds."""

    service: str
    name: str
    trace_id: str
    span_id: str
    parent_id: str
    kind: str
    started: int
    ended: int
    failed: bool
    events: list[str]
    links: list[tuple[str, str]]
    attributes: dict[str, str]


class Collector:
    """What arrived so far, at ``url``."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.url = ""

    def named(self, name: str, trace_id: str | None = None) -> list[Span]:
        """The spans of this name, in one trace or in all."""
        return [span for span in self.spans if span.name == name and trace_id in (None, span.trace_id)]

    def take(self, body: bytes) -> None:
        """One request of an exporter."""
        request = ExportTraceServiceRequest.FromString(body)
        for resource in request.resource_spans:
            service = next(each.value.string_value for each in resource.resource.attributes if each.key == "service.name")
            self.spans += [_read(service, span) for scope in resource.scope_spans for span in scope.spans]


def _read(service: str, span: WireSpan) -> Span:
    return Span(
        service,
        span.name,
        span.trace_id.hex(),
        span.span_id.hex(),
        span.parent_span_id.hex(),
        WireSpan.SpanKind.Name(span.kind).removeprefix("SPAN_KIND_"),
        span.start_time_unix_nano,
        span.end_time_unix_nano,
        span.status.code == 2,
        [event.name for event in span.events],
        [(link.trace_id.hex(), link.span_id.hex()) for link in span.links],
        {each.key: each.value.string_value or str(each.value.int_value) for each in span.attributes},
    )


@contextmanager
def collecting() -> Iterator[Collector]:
    """A collector for the length of a ``with``."""
    collector = Collector()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            assert self.path == "/v1/traces"
            body = self.rfile.read(int(self.headers["Content-Length"]))
            if self.headers.get("Content-Encoding") == "gzip":
                import gzip

                body = gzip.decompress(body)
            collector.take(body)
            self.send_response(200)
            self.send_header("Content-Length", "0")
            self.end_headers()

        def log_message(self, *args: object) -> None: ...

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        collector.url = f"http://127.0.0.1:{server.server_address[1]}"
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield collector
        server.shutdown()
