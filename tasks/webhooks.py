"""`webhooks.store`: raw webhooks to rows in one hop; what the source does not handle is discarded and counted."""

from shared.clock import from_epoch
from shared.errors import InvalidMessage
from shared.outcome import DeadLetter, Discard, Outcome
from shared.store import messages
from shared.topology import STORE_WEBHOOKS
from shared.webhook import decode_webhook
from tasks.batch import Member, batch_task
from tasks.messages import store_arrivals
from tasks.sources.registry import SOURCES


@batch_task(STORE_WEBHOOKS)
def store(members: list[Member]) -> list[Outcome]:
    """One outcome a webhook: Done when its message is stored, Discard when it holds none, DeadLetter when it is broken."""
    return store_arrivals([_arrival(member) for member in members])


def _arrival(member: Member) -> messages.Arrival | Outcome:
    try:
        webhook = decode_webhook(member.argument)
        source = SOURCES.get(webhook.source)
        if source is None:
            return DeadLetter(f"there is no source {webhook.source[:50]!r}")
        message = source.parse(webhook.event, bytes(webhook.body))
    except InvalidMessage as error:
        return DeadLetter(f"invalid webhook: {error}")
    if message is None:
        return Discard("event not handled")
    return messages.Arrival(webhook.account_id, message, from_epoch(member.received_at))
