"""Queues, task names and lanes: what producers and consumers must agree on, and nothing else."""

from zlib import crc32

MESSAGES = "messages"
WEBHOOKS = "webhooks"
MAINTENANCE = "maintenance"

QUEUES = (WEBHOOKS, MESSAGES, MAINTENANCE)

STORE_MESSAGES = "messages.store"
STORE_WEBHOOKS = "webhooks.store"

QUEUE_OF_TASK = {STORE_MESSAGES: MESSAGES, STORE_WEBHOOKS: WEBHOOKS}

LANES_DEFAULT = 32
"""Enough that 2 to 8 workers of 2 slots share them evenly, few enough that a sweep over all of them stays cheap."""

LANES_OF_AN_ACCOUNT = 8
"""An account touches at most this many lanes, so that one account's flood leaves three quarters of the default lanes alone."""


def lane_of(account_id: str, order_key: str, lanes: int = LANES_DEFAULT) -> int:
    """The lane, ``0 <= lane < lanes``, in which messages of one conversation keep their order.

    Args:
        account_id: the account's id, verbatim.
        order_key: the conversation's id, or the channel's where a webhook may hold several conversations.
        lanes: the fleet's number of lanes, 1 or more.
    """
    return (crc32(account_id.encode()) + crc32(order_key.encode()) % LANES_OF_AN_ACCOUNT) % lanes
