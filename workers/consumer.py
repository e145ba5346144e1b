"""Celery's consumer, but for what it would drop: a message that names no known task, or cannot be read, is dead-lettered.

And it is sooner back after an outage of the broker.
"""

from collections.abc import Callable
from typing import Any

from celery.worker.consumer import Consumer

from workers import health

RETRY_SECONDS_START = 0.5
RETRY_SECONDS_STEP = 0.5
RETRY_SECONDS_MAX = 2.0
"""Between attempts to connect; kombu's 2, 4, 6 and so on up to 30 may sleep for as long as the broker was away. A refused attempt
costs a millisecond."""


class KeepingConsumer(Consumer):
    """Stock Celery acknowledges or rejects these and they vanish. Here they wait for an operator."""

    def ensure_connected(self, conn: Any) -> Any:
        """Until the broker is there."""
        stock = conn.ensure_connection

        def patiently(errback: Any, retries: Any, *, callback: Callable[[], None]) -> Any:
            def between() -> None:
                health.meanwhile()
                callback()

            return stock(
                errback,
                retries,
                callback=between,
                interval_start=RETRY_SECONDS_START,
                interval_step=RETRY_SECONDS_STEP,
                interval_max=RETRY_SECONDS_MAX,
            )

        conn.ensure_connection = patiently
        return super().ensure_connected(conn)

    def on_unknown_message(self, body: Any, message: Any) -> None:
        """Neither protocol 1 nor 2."""
        self.collector.collect(message, verdict="not a Celery task message")

    def on_unknown_task(self, body: Any, message: Any, exc: Exception) -> None:
        """No task of this name here."""
        self.collector.collect(message, verdict=f"there is no task {_name(message)!r}")

    def on_invalid_task(self, body: Any, message: Any, exc: Exception) -> None:
        """The task's message is malformed."""
        self.collector.collect(message, verdict="malformed task message")

    def on_decode_error(self, message: Any, exc: Exception) -> None:
        """The body cannot be decoded."""
        self.collector.collect(message, verdict="body cannot be decoded")


def _name(message: Any) -> str:
    headers = message.headers if isinstance(message.headers, dict) else {}
    return str(headers.get("task"))[:100]
