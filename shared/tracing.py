"""Traces: one from the HTTP request through the queue to the commit, in W3C trace context. An optional extra, off by default.

This is the seam that the code calls. Off, nothing of OpenTelemetry is imported and each call is one comparison; on
(`HEADRACE_OTLP_URL`, and `headrace[otel]` installed) `shared.otel` does the work. A message carries its trace in the header
``traceparent``, where OpenTelemetry's instrumentation of stock Celery clients puts theirs, too.

What is recorded: names, sizes, durations, outcomes. Never a text, a key or a value of a statement.
"""

import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from typing import TYPE_CHECKING, Any

from shared.errors import ConfigurationError
from shared.settings import settings

if TYPE_CHECKING:
    from shared.otel import Otel

TRACEPARENT = "traceparent"
"""Header of a message and of an HTTP request."""

_NOTHING: AbstractContextManager[Any] = nullcontext()

_otel: "Otel | None" = None


def configure(process: str) -> None:
    """Start tracing if the settings say so; in a worker's child, after the fork: what sends spans is a thread.

    Args:
        process: the service is called ``headrace-<process>``.

    Raises ConfigurationError when the extra is not installed.
    """
    global _otel  # noqa: PLW0603 - one a process
    config = settings()
    if config.otlp_url:
        _otel = _loaded()(process, config.otlp_url, config.trace_ratio)


def require_installed() -> None:
    """Raises ConfigurationError when the settings say so and the extra is not installed. Before a fork: Celery would log what a
    child raises, and go on without traces."""
    if settings().otlp_url:
        _loaded()


def _loaded() -> "type[Otel]":
    try:
        from shared.otel import Otel  # noqa: PLC0415 - the point of an optional extra
    except ImportError as error:
        raise ConfigurationError(
            f"HEADRACE_OTLP_URL is set, but {error.name} is not installed: pip install 'headrace[otel]', or unset it"
        ) from None
    return Otel


def close() -> None:
    """Send what is recorded, for two seconds at most, and stop."""
    global _otel  # noqa: PLW0603
    if _otel is not None:
        _otel.close()
        _otel = None


def on() -> bool:
    """Whether this process traces."""
    return _otel is not None


def span(name: str, **attributes: Any) -> AbstractContextManager[Any]:
    """A part of what is being traced; nothing when nothing is."""
    return _NOTHING if _otel is None else _otel.part(name, attributes)


def request_span(method: str, headers: Sequence[tuple[bytes, bytes]]) -> AbstractContextManager[Any]:
    """An HTTP request, in the caller's trace when it names one. Gives None, or what `describe_request` takes."""
    return _NOTHING if _otel is None else _otel.request(method, headers)


def describe_request(it: Any, method: str, route: str, status: int) -> None:
    """What became of the request."""
    if it is not None and _otel is not None:
        _otel.describe(it, method, route, status)


def batch_span(name: str, members: Iterable[tuple[Mapping[str, Any], float]], **attributes: Any) -> AbstractContextManager[Any]:
    """A batch of messages, linked to each traced one's own span, which ends with it. Gives None, or its trace's id.

    Args:
        name: of the task.
        members: each message's headers, and wall-clock seconds of its claim.
        attributes: of the batch.
    """
    return _NOTHING if _otel is None else _otel.batch(name, members, attributes)


def traceparent() -> str:
    """The context to send along, or empty. Also that of a producer's own program which uses OpenTelemetry by itself."""
    trace = sys.modules.get("opentelemetry.trace")
    if trace is None:
        return ""
    context = trace.get_current_span().get_span_context()
    if not context.is_valid:
        return ""
    return f"00-{context.trace_id:032x}-{context.span_id:016x}-{int(context.trace_flags) & 1:02x}"
