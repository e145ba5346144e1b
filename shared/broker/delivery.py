"""What becomes of one claimed message: handed over, forwarded to its lane, or delayed until it is due.

A lane's messages go to the channel's receiver as they are, undecoded: the worker's parent is one process for many children,
so what it does for each message is what bounds the worker. Everything else goes the way of kombu's callbacks.
"""

from typing import TYPE_CHECKING, Any

from shared.broker.calls import Claim, Claimed
from shared.broker.envelope import Undecodable, decode, due_ms
from shared.broker.keys import queue_of
from shared.broker.plain import lane_for
from shared.log import get_logger
from shared.topology import MESSAGES, lane_number

if TYPE_CHECKING:
    from shared.broker.consumer import Consumer

log = get_logger(__name__)

NO_LANE = "not a messages.store with account_id and conversation_id"

UNREADABLE = "headrace.unreadable"
"""Task name under which kombu's callbacks get a payload that is no Celery message, as its body."""

NOT_SCHEDULED = (b'"eta": null', b'"eta":null')
"""As the JSON of Python's clients and of ours says it. Inside the body, a JSON string itself, the quotes are escaped, so these
bytes can only be the header. A message without them is decoded to find out."""


def deliver(consumer: "Consumer", claimed: Claimed) -> None:
    """Settle the fate of every message of a claim. When one cannot be handed on, it and those behind it are given back."""
    done = 0
    forwards: list[tuple[str, str]] = []
    cancelled: list[str] = []  # given back together: one by one, each would stand before the one before it
    try:
        for message in claimed.messages:
            queue = queue_of(message.token)
            if consumer.consumes(queue):
                _deliver_one(consumer, queue, message, claimed.now_ms, forwards)
            else:
                cancelled.append(message.token)
            done += 1
            consumer.progress()
        consumer.outbox.forward(forwards)
    except BaseException:
        undone = [message.token for message in claimed.messages[done:]]
        consumer.outbox.give_back([*undone, *cancelled, *(token for token, _ in forwards)])
        raise
    consumer.outbox.give_back(cancelled)


def _deliver_one(consumer: "Consumer", queue: str, message: Claim, now_ms: int, forwards: list[tuple[str, str]]) -> None:
    payload, envelope = message.payload, None
    raw = consumer.receives_raw and lane_number(queue) is not None
    scheduled = not (NOT_SCHEDULED[0] in payload or NOT_SCHEDULED[1] in payload)
    plain = queue == MESSAGES and consumer.lanes > 0
    if scheduled or not (raw or plain):
        try:
            envelope = decode(payload)
        except Undecodable as error:
            return _refuse(consumer, queue, message, str(error))
        due = due_ms(envelope)
        if due is not None and due > now_ms:
            return consumer.outbox.delay(message.token, until_ms=due)
    if plain:
        lane = lane_for(payload, consumer.lanes)
        if lane is None:
            return _refuse(consumer, queue, message, NO_LANE)
        return forwards.append((message.token, lane))
    if raw:
        return consumer.hand_over_raw(queue, message)
    return _hand_over(consumer, queue, message, envelope or decode(payload))


def _hand_over(consumer: "Consumer", queue: str, message: Claim, envelope: dict[str, Any], refused: str = "") -> None:
    properties = envelope["properties"]
    envelope["headers"]["eta"] = None  # it is due by the server's clock; Celery would ask this host's
    properties["delivery_tag"] = message.token
    properties["delivery_info"].update(queue=queue, redelivered=message.deaths > 0, claim=message, refused=refused)
    consumer.hand_over(queue, envelope, message.token, len(message.payload))


def _refuse(consumer: "Consumer", queue: str, message: Claim, reason: str) -> None:
    """Hand it over all the same, with the reason: the batch task keeps it among the dead letters."""
    log.warning("message refused", queue=queue, reason=reason, size=len(message.payload), deaths=message.deaths)
    if consumer.receives_raw:
        return consumer.hand_over_raw(queue, message, refused=reason)
    try:
        envelope = decode(message.payload)
    except Undecodable:
        envelope = {
            "body": message.payload,
            "content-type": "application/octet-stream",
            "content-encoding": "binary",
            "headers": {"task": UNREADABLE, "id": message.token},
            "properties": {"delivery_info": {"exchange": "", "routing_key": queue}},
        }
    return _hand_over(consumer, queue, message, envelope, refused=reason)
