"""From kombu's message to a `Pending`: what the parent reads of a message, which is never its text."""

from typing import Any

from shared.clock import wall_seconds
from shared.producer import ACCEPTED_AT
from tasks.slot import LOST_ALONE_MAX, Pending

DEATH_SHRINKS = 8
"""Each death of a worker that held a message lets it run in batches smaller by this: 200, 25, 3, then alone."""

CLOCK_SKEW_SECONDS_MAX = 3600
"""A time of acceptance further in the future is no time."""


def pending(message: Any, task: str, verdict: str, messages_max: int) -> Pending:
    """The message as its slot holds it.

    Args:
        message: kombu's; its delivery info is the transport's (`shared.broker.delivery`).
        task: the batch task's name.
        verdict: why it is to be buried, or empty.
        messages_max: messages in a batch.
    """
    headers = message.headers if isinstance(message.headers, dict) else {}
    delivery = message.delivery_info
    deaths, deaths_alone = delivery.get("deaths", 0), delivery.get("deaths_alone", 0)
    it = Pending(
        task=task,
        queue=delivery.get("queue") or delivery["routing_key"],
        task_id=str(headers.get("id") or message.delivery_tag),
        headers=headers,
        body=message.body if isinstance(message.body, bytes) else str(message.body).encode(),
        received_at=_accepted_at(headers),
        message=message,
        limit=max(1, messages_max // DEATH_SHRINKS**deaths),
        suspect=deaths > 0,
    )
    verdict = delivery.get("refused") or verdict
    if not verdict and message.content_type != "application/json":
        verdict = f"content type {str(message.content_type)[:50]!r}, not application/json"
    if not verdict and deaths_alone >= LOST_ALONE_MAX:
        verdict = f"a worker died {deaths_alone} times while running it alone"
    if verdict:
        it.give_up(verdict)
    return it


def _accepted_at(headers: dict[str, Any]) -> float:
    accepted, now = headers.get(ACCEPTED_AT), wall_seconds()
    return float(accepted) if isinstance(accepted, int | float) and 0 <= accepted <= now + CLOCK_SKEW_SECONDS_MAX else now
