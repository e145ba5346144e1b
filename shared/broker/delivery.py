"""What becomes of one claimed message: delivered, forwarded to its lane, delayed until it is due, or refused."""

from base64 import b64encode
from hashlib import sha1
from typing import TYPE_CHECKING, Any

from shared.broker.calls import Claim, Claimed
from shared.broker.envelope import Undecodable, decode, due_ms
from shared.broker.keys import queue_of
from shared.broker.lanes import lane_of_envelope
from shared.log import get_logger
from shared.topology import MESSAGES

if TYPE_CHECKING:
    from shared.broker.consumer import Consumer

log = get_logger(__name__)

NO_LANE = "not a messages.store with account_id and conversation_id"

UNREADABLE = "headrace.unreadable"
"""Task name under which a payload that is no Celery message is handed over, as its body, base64-encoded."""


def deliver(consumer: "Consumer", claimed: Claimed) -> None:
    """Settle the fate of every message of a claim. When one cannot be handed on, it and those behind it are given back."""
    undone = {message.token: message for message in claimed.messages}
    forwards: list[tuple[str, str]] = []
    try:
        for message in claimed.messages:
            _deliver_one(consumer, message, claimed.now_ms, forwards)
            del undone[message.token]
        consumer.outbox.forward(forwards)
    except BaseException:
        consumer.outbox.give_back([*undone, *(token for token, _ in forwards)])
        raise


def _deliver_one(consumer: "Consumer", message: Claim, now_ms: int, forwards: list[tuple[str, str]]) -> None:
    queue = queue_of(message.token)
    try:
        envelope = decode(message.payload)
    except Undecodable as error:
        return _refuse(consumer, queue, message, str(error))
    due = due_ms(envelope)
    if due is not None:
        if due > now_ms:
            return consumer.outbox.delay(message.token, until_ms=due)
        envelope["headers"]["eta"] = None  # it is due by the server's clock; Celery would ask this host's
    if queue == MESSAGES and consumer.lanes:
        lane = lane_of_envelope(envelope, consumer.lanes)
        if lane is None:
            return _refuse(consumer, queue, message, NO_LANE, envelope)
        forwards.append((message.token, lane))
        return None
    return _hand_over(consumer, queue, message, envelope)


def _hand_over(consumer: "Consumer", queue: str, message: Claim, envelope: dict[str, Any], refused: str = "") -> None:
    properties = envelope["properties"]
    properties["delivery_tag"] = message.token
    properties["delivery_info"].update(
        queue=queue,
        redelivered=message.deaths > 0,
        deaths=message.deaths,
        deaths_alone=message.deaths_alone,
        refused=refused,
    )
    consumer.hand_over(queue, envelope, message.token, len(message.payload))


def _refuse(consumer: "Consumer", queue: str, message: Claim, reason: str, envelope: dict[str, Any] | None = None) -> None:
    """Hand it over all the same, with ``refused`` in its delivery info: the batch task keeps it among the dead letters."""
    log.warning("message refused", queue=queue, reason=reason, size=len(message.payload), deaths=message.deaths)
    if envelope is None:
        name = sha1(message.payload, usedforsecurity=False).hexdigest()
        envelope = {
            "body": b64encode(message.payload).decode(),
            "content-type": "application/octet-stream",
            "content-encoding": "binary",
            "headers": {"task": UNREADABLE, "id": name},
            "properties": {"body_encoding": "base64", "delivery_info": {"exchange": "", "routing_key": queue}},
        }
    _hand_over(consumer, queue, message, envelope, refused=reason)
