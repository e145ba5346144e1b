"""What waits and what is held, read off the broker as stock clients and our consumers write it."""

import orjson
import redis
from celery import Celery

from shared.broker.claims import Claims
from shared.envelope import envelope
from shared.producer import Producer
from shared.topology import KINDS, STORE_MESSAGES, all_queues
from workers.queues import QueueState, by_kind, depths


def state(broker: redis.Redis, name: str = "messages") -> QueueState:
    return next(each for each in by_kind(depths(broker, all_queues(32))) if each.name == name)


def test_every_queue_is_listed_and_an_empty_one_has_nothing(broker: redis.Redis) -> None:
    assert depths(broker, all_queues(32)) == [QueueState(name, 0, 0, None) for name in all_queues(32)]
    assert by_kind(depths(broker, all_queues(32))) == [QueueState(name, 0, 0, None) for name in KINDS]


def test_messages_of_every_priority_wait_in_their_queue(broker: redis.Redis, stock_client: Celery) -> None:
    for priority in (0, 4, 9):
        stock_client.send_task(STORE_MESSAGES, args=[{}], queue="messages", priority=priority)
    assert state(broker).depth == 3
    assert state(broker, "webhooks").depth == 0


def test_the_oldest_message_is_the_one_that_waits_longest(broker: redis.Redis, producer: Producer) -> None:
    now = broker.time()[0]
    for age in (50, 5):
        producer.publish([envelope(STORE_MESSAGES, b"{}", lane=0, accepted_at=now - age, via="api")])
    assert 49 <= (state(broker).oldest_age_seconds or 0) < 60


def test_what_says_no_time_or_is_garbage_has_no_age(broker: redis.Redis) -> None:
    for garbage in (
        b"\xff",
        b"[]",
        b"{}",
        orjson.dumps({"headers": None}),
        orjson.dumps({"headers": {"headrace_accepted_at": []}}),
    ):
        broker.delete("messages")
        broker.lpush("messages", garbage)
        assert state(broker) == QueueState("messages", 1, 0, None)


def test_what_a_consumer_holds_is_counted_for_its_queue_until_it_is_settled(broker: redis.Redis, stock_client: Celery) -> None:
    stock_client.send_task(STORE_MESSAGES, args=[{"text": "x" * 5000}], queue="messages")
    claims = Claims(broker)
    claims.join("a", 15_000, single_active=["messages"])
    (claim,) = claims.claim("a", [("messages", True)], 10).messages
    assert state(broker) == QueueState("messages", 0, 1, None)
    claims.ack("a", [claim.token])
    assert state(broker) == QueueState("messages", 0, 0, None)
