"""Queues, task names and lanes: what producers and consumers must agree on, and nothing else.

`messages` and `webhooks` are kinds: each is so many lanes, the queues ``messages.00``, ``messages.01`` and so on. The queue
``messages`` itself is where plain producers send; its owner forwards to the lanes. A user's own batch task has an
unordered queue, named like the task up to its first dot (docs/handlers.md).
"""

import re
from collections.abc import Iterable
from functools import cache
from zlib import crc32

MESSAGES = "messages"
WEBHOOKS = "webhooks"
MAINTENANCE = "maintenance"

KINDS = (WEBHOOKS, MESSAGES, MAINTENANCE)
LANED = (WEBHOOKS, MESSAGES)
"""The kinds whose order matters."""

STORE_MESSAGES = "messages.store"
STORE_WEBHOOKS = "webhooks.store"

TASK_OF_KIND = {MESSAGES: STORE_MESSAGES, WEBHOOKS: STORE_WEBHOOKS}
"""What a batch of a kind is called where one name must do: in Flower, in logs."""

LANES_DEFAULT = 32
"""Enough that 2 to 8 workers of 2 slots share them evenly, few enough that a sweep over all of them stays cheap."""

LANES_MAX = 256
"""A sweep looks at each."""

LANES_OF_AN_ACCOUNT = 8
"""An account touches at most this many lanes, so that one account's flood leaves three quarters of the default lanes alone."""

_LANE = re.compile(r"(messages|webhooks)\.(\d+)")


def kind_of_task(task: str) -> str:
    """The kind of a batch task, its name up to the first dot: ``messages`` of ``messages.store``."""
    return task.partition(".")[0]


def lane_of(account_id: str, order_key: str, lanes: int = LANES_DEFAULT) -> int:
    """The lane, ``0 <= lane < lanes``, in which messages of one conversation keep their order.

    Args:
        account_id: the account's id, verbatim.
        order_key: the conversation's id, or the channel's where a webhook may hold several conversations.
        lanes: the fleet's number of lanes, 1 or more.
    """
    return (crc32(account_id.encode()) + shard_of(order_key)) % lanes


def shard_of(order_key: str) -> int:
    """Which of an account's eight lanes the key is in, from 0: conversations of two lanes never share a shard."""
    return crc32(order_key.encode()) % LANES_OF_AN_ACCOUNT


def lane_queue(kind: str, lane: int) -> str:
    """The queue of a lane: ``messages.07``."""
    return f"{kind}.{lane:02d}"


def lane_queues(kind: str, lanes: int) -> list[str]:
    """The queues of all lanes of ``messages`` or ``webhooks``."""
    return [lane_queue(kind, lane) for lane in range(lanes)]


@cache
def lane_number(queue: str) -> int | None:
    """The lane that ``queue`` is, or None when it is none."""
    lane = _LANE.fullmatch(queue)
    return int(lane[2]) if lane else None


@cache
def kind_of(queue: str) -> str:
    """``messages`` for ``messages.07``; a queue that is no lane is its own kind."""
    return queue.partition(".")[0] if lane_number(queue) is not None else queue


def queues_of(kind: str, lanes: int) -> list[str]:
    """Every queue of a kind: its lanes, and for what is not laned, or is where plain producers send, the queue itself."""
    plain = [] if kind == WEBHOOKS else [kind]
    return [*plain, *(lane_queues(kind, lanes) if kind in LANED else ())]


def all_queues(lanes: int, own: Iterable[str] = ()) -> list[str]:
    """Every queue of a fleet with so many lanes, and the ``own`` unordered ones of its users' tasks."""
    return [*(queue for kind in KINDS for queue in queues_of(kind, lanes)), *own]
