"""What every side gets: the same messages, queued as the same ordinary Celery messages.

A stock Celery client writes them once; a run gets copies of its very bytes. For lanes only the queue's name in them differs.
"""

from random import Random
from typing import Any, NamedTuple
from uuid import UUID

import orjson
import redis
from celery import Celery

from shared.topology import MESSAGES, STORE_MESSAGES, lane_of, lane_queue

ACCOUNTS = 200
CONVERSATIONS = 25
"""Of each account."""

TEXT_WORDS_MAX = 40
WORDS = ("hello", "thanks", "please", "order", "parcel", "invoice", "refund", "address", "delivery", "waiting", "Zürich", "東京")
SEED = 20_261_124


class Queued(NamedTuple):
    """A message on its way into a broker: its queue, and its bytes there."""

    queue: str
    payload: bytes


def account_ids() -> list[str]:
    """The same accounts in every run."""
    random = Random(SEED)
    return [str(UUID(int=random.getrandbits(128), version=4)) for _ in range(ACCOUNTS)]


def messages(count: int) -> list[dict[str, Any]]:
    """``count`` arguments of `messages.store`, as spread over the conversations as chance has it."""
    random, accounts = Random(SEED + 1), account_ids()
    return [_message(random, number, random.choice(accounts), random.randrange(CONVERSATIONS)) for number in range(count)]


def _message(random: Random, number: int, account_id: str, conversation: int) -> dict[str, Any]:
    return {
        "account_id": account_id,
        "message_id": f"bench-{number:08d}",
        "conversation_id": f"conversation-{conversation}",
        "author": {"id": f"customer-{conversation}", "name": f"Customer {conversation}"},
        "text": " ".join(random.choices(WORDS, k=random.randint(5, TEXT_WORDS_MAX))),
        "sent_at": "2026-11-24T09:00:00Z",
        "metadata": {"ordinal": number},
    }


def plain(broker_url: str, arguments: list[dict[str, Any]]) -> list[Queued]:
    """What a stock client sends to `messages`. Leaves the broker as it was."""
    with Celery("client", broker=broker_url, set_as_current=False) as client, redis.Redis.from_url(broker_url) as broker:
        with client.producer_or_acquire() as producer, producer.batch():
            for argument in arguments:
                client.send_task(STORE_MESSAGES, args=[argument], queue=MESSAGES, producer=producer, ignore_result=True)
        payloads = broker.lrange(MESSAGES, 0, -1)
        broker.delete(MESSAGES)
    return [Queued(MESSAGES, payload) for payload in reversed(payloads)]


def in_lanes(queued: list[Queued], arguments: list[dict[str, Any]]) -> list[Queued]:
    """The same messages, as the client would have sent them straight to their lanes."""
    moved = []
    for (_, payload), argument in zip(queued, arguments, strict=True):
        lane = lane_queue(MESSAGES, lane_of(argument["account_id"], argument["conversation_id"]))
        envelope = orjson.loads(payload)
        envelope["properties"]["delivery_info"]["routing_key"] = lane
        moved.append(Queued(lane, orjson.dumps(envelope)))
    return moved
