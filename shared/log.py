"""Logs: one line an event, JSON where a file reads it and aligned text where a person does. Never a secret, never a text.

What is bound (`bound`) stands in every line of the block: the batch that a child runs, and the trace that it belongs to.
"""

import logging
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import structlog

from shared.log_repeats import RepeatsFilter
from shared.settings import settings

# A command that configures nothing has its answer on stdout, perhaps as JSON: what it logs belongs beside it.
structlog.configure(logger_factory=lambda *_: structlog.PrintLogger(sys.stderr))


def configure(process: str) -> None:
    """Set up the process's logging, structlog's and the standard library's alike, to stderr.

    Args:
        process: the name bound to every line, such as ``worker`` or ``ingress``.
    """
    shared_steps: list[structlog.types.Processor] = [
        structlog.contextvars.merge_contextvars,
        _add_pid,
        structlog.stdlib.add_log_level,
        structlog.stdlib.add_logger_name,
        structlog.stdlib.PositionalArgumentsFormatter(),
        structlog.processors.TimeStamper(fmt="iso", utc=True),
    ]
    chosen = settings().log_format
    terminal = sys.stderr.isatty() if chosen == "auto" else chosen == "text"
    # Tracebacks without local variables: those would be message texts and secrets.
    plain = structlog.dev.ConsoleRenderer(colors=sys.stderr.isatty(), exception_formatter=structlog.dev.plain_traceback)
    last: structlog.types.Processor = plain if terminal else structlog.processors.JSONRenderer()
    exceptions = structlog.processors.ExceptionRenderer(structlog.tracebacks.ExceptionDictTransformer(show_locals=False))
    formatter = structlog.stdlib.ProcessorFormatter(
        foreign_pre_chain=shared_steps,
        processors=[
            structlog.stdlib.ProcessorFormatter.remove_processors_meta,
            *([] if terminal else [exceptions]),
            last,
        ],
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(formatter)
    handler.addFilter(RepeatsFilter())
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(settings().log_level)
    structlog.configure(
        processors=[*shared_steps, structlog.stdlib.ProcessorFormatter.wrap_for_formatter],
        logger_factory=structlog.stdlib.LoggerFactory(),
        wrapper_class=structlog.stdlib.BoundLogger,
        cache_logger_on_first_use=True,
    )
    structlog.contextvars.bind_contextvars(process=process)


@contextmanager
def bound(**ids: Any) -> Iterator[None]:
    """Every line of the block says ``ids``; one that is empty is left out."""
    with structlog.contextvars.bound_contextvars(**{name: value for name, value in ids.items() if value}):
        yield


def get_logger(name: str) -> structlog.stdlib.BoundLogger:
    """A logger whose calls take an event and its fields: ``log.info("batch stored", size=200)``."""
    logger: structlog.stdlib.BoundLogger = structlog.stdlib.get_logger(name)
    return logger


def _add_pid(_logger: Any, _method: str, event: structlog.types.EventDict) -> structlog.types.EventDict:
    """A worker's children share its log."""
    event.setdefault("pid", os.getpid())
    return event
