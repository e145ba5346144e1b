"""From a claim to a `Pending`: nothing of the message is read, only what the broker says of it."""

from typing import Any

from shared.broker.calls import Claim
from shared.clock import wall_seconds
from tasks.slot import LOST_ALONE_MAX, Pending

DEATH_SHRINKS = 8
"""Each death of a worker that held a message lets it run in batches smaller by this: 200, 25, 3, then alone."""


def pending(channel: Any, queue: str, claim: Claim, verdict: str, messages_max: int) -> Pending:
    """The message as its slot holds it.

    Args:
        channel: whose claim it is.
        queue: where it was claimed from.
        verdict: why it is to be buried, or empty.
        messages_max: messages in a batch.
    """
    it = Pending(queue, claim.token, claim.payload, wall_seconds(), channel, messages_max)
    if claim.deaths:
        it.suspect = True
        it.limit = max(1, messages_max // DEATH_SHRINKS**claim.deaths)
    if claim.deaths_alone >= LOST_ALONE_MAX:
        verdict = verdict or f"a worker died {claim.deaths_alone} times while running it alone"
    if verdict:
        it.give_up(verdict)
    return it
