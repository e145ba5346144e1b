"""Celery's consumer, but for what it would drop: a message that names no known task, or cannot be read, is dead-lettered."""

from typing import Any

from celery.worker.consumer import Consumer


class KeepingConsumer(Consumer):
    """Stock Celery acknowledges or rejects these and they vanish. Here they wait for an operator."""

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
