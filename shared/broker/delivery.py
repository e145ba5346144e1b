"""What becomes of one claimed message: delivered, forwarded to its lane, delayed until it is due, or refused."""

from collections.abc import Callable
from typing import TYPE_CHECKING

from shared.broker.calls import Claim, Claimed
from shared.broker.envelope import Undecodable, decode, due_ms
from shared.broker.keys import queue_of
from shared.broker.lanes import lane_of_envelope
from shared.log import get_logger
from shared.topology import MESSAGES

if TYPE_CHECKING:
    from shared.broker.consumer import Consumer

log = get_logger(__name__)

Refused = Callable[[str, bytes, str], None]

_on_refused: Refused | None = None


def on_refused(keep: Refused | None) -> None:
    """Set what keeps a payload that cannot be read or forwarded: ``keep(queue, payload, reason)``.

    It runs in the worker's event loop; when it returns, the message is settled. Without one, and when it raises, the payload
    is set aside in the list ``headrace:refused:<queue>``.
    """
    global _on_refused  # noqa: PLW0603  (one a process, like a signal handler)
    _on_refused = keep


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
            return _refuse(consumer, queue, message, "it is no messages.store with account_id and conversation_id")
        forwards.append((message.token, lane))
        return None
    properties = envelope["properties"]
    properties["delivery_tag"] = message.token
    properties["delivery_info"].update(
        queue=queue, redelivered=message.deaths > 0, deaths=message.deaths, deaths_alone=message.deaths_alone
    )
    return consumer.hand_over(queue, envelope, message.token, len(message.payload))


def _refuse(consumer: "Consumer", queue: str, message: Claim, reason: str) -> None:
    if _on_refused is not None:
        try:
            _on_refused(queue, message.payload, reason)
        except Exception as error:  # noqa: BLE001  (whatever it is, the message must not be lost by it)
            log.warning("refused message not kept", queue=queue, error=type(error).__name__)
        else:
            return consumer.outbox.settle(message.token)
    log.warning("message refused", queue=queue, reason=reason, size=len(message.payload), deaths=message.deaths)
    return consumer.outbox.set_aside(message.token)
