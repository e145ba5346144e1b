"""`messages.store`: queued messages to rows, a whole batch in one transaction."""

from shared.clock import from_epoch
from shared.db.session import transact
from shared.errors import InvalidMessage
from shared.message import QueuedMessage, decode_queued
from shared.outcome import DeadLetter, Outcome
from shared.store import messages
from shared.topology import STORE_MESSAGES
from tasks.batch import Member, all_done, batch_task

UNKNOWN_ACCOUNT = "there is no such account"


@batch_task(STORE_MESSAGES)
def store(members: list[Member]) -> list[Outcome]:
    """One outcome a message: Done when it is stored (now or before), DeadLetter when it can never be."""
    return store_arrivals([_arrival(member) for member in members])


def store_arrivals(arrivals: list[messages.Arrival | Outcome]) -> list[Outcome]:
    """Store what arrived; what has an outcome already keeps it."""
    outcomes = all_done(len(arrivals))
    valid = []
    for place, arrival in enumerate(arrivals):
        if isinstance(arrival, messages.Arrival):
            valid.append(arrival)
        else:
            outcomes[place] = arrival
    if not valid:
        return outcomes
    stored = transact(lambda session: messages.store(session, valid), idempotent=True)
    if stored.unknown_accounts:
        for place, arrival in enumerate(arrivals):
            if isinstance(arrival, messages.Arrival) and arrival.account_id in stored.unknown_accounts:
                outcomes[place] = DeadLetter(UNKNOWN_ACCOUNT)
    return outcomes


def _arrival(member: Member) -> messages.Arrival | Outcome:
    try:
        message: QueuedMessage = decode_queued(member.argument)
    except InvalidMessage as error:
        return DeadLetter(f"invalid message: {error}")
    return messages.Arrival(message.account_id, message, from_epoch(member.received_at))
