"""The transport through kombu's own interface, without an event loop."""

import json
from pathlib import Path
from typing import Any

import pytest
import redis

from shared.broker import keys
from shared.broker.claims import Claims
from shared.broker.delivery import UNREADABLE
from tests.claiming import end_lease
from tests.reading import nothing_claimed, send, waiting
from tests.redis_server import binaries, running
from tests.waiting import eventually

pytestmark = binaries
LANE = "messages.00"


def test_no_more_is_claimed_than_there_is_credit_for(client: redis.Redis, reader: Any) -> None:
    send(client, LANE, *"12345")
    one = reader(LANE, prefetch=2)
    assert one.read(2) == ["1", "2"]
    one.pause()
    assert waiting(client, LANE) == ["3", "4", "5"]
    one.got[0].ack()
    assert one.read(3) == ["1", "2", "3"]


def test_an_acked_message_is_settled_at_once_without_an_event_loop(client: redis.Redis, reader: Any) -> None:
    send(client, "work", "1")
    one = reader("work")
    one.read(1)
    one.got[0].ack()
    eventually("it is settled", lambda: nothing_claimed(client))


def test_closing_gives_back_in_order_and_leaves(client: redis.Redis, reader: Any) -> None:
    send(client, LANE, *"12345")
    one = reader(LANE)
    one.read(5)
    one.got[0].ack()
    one.connection.release()
    assert waiting(client, LANE) == ["2", "3", "4", "5"]
    assert not client.exists(keys.CONSUMERS, keys.HELD, keys.DEATHS)


def test_what_a_claim_under_way_brings_is_given_back_behind_what_was_claimed_before(client: redis.Redis, reader: Any) -> None:
    send(client, LANE, *"123")
    one = reader(LANE)
    one.read(3)
    claimer = one.channel.claimer
    eventually("no claim is under way", lambda: claimer.read() or not claimer._fetch.claiming)
    send(client, LANE, *"45")
    eventually("one is, its answer unread", lambda: claimer.tick() or not client.exists(LANE))
    one.channel.give_back([message.delivery_tag for message in one.got])
    one.consumer.cancel()
    assert waiting(client, LANE) == ["1", "2", "3", "4", "5"]


def test_messages_of_a_cancelled_queue_are_given_back_in_order(client: redis.Redis, reader: Any) -> None:
    one = reader(LANE, "work")
    one.pause()
    claimer = one.channel.claimer
    eventually("no claim is under way", lambda: claimer.read() or not claimer._fetch.claiming)
    send(client, LANE, *"123")
    eventually("one is, its answer unread", lambda: claimer.tick() or not client.exists(LANE))
    one.consumer.cancel_by_queue(LANE)
    eventually("they are back", lambda: claimer.read() or waiting(client, LANE) == ["1", "2", "3"])


def test_a_rejected_message_goes_to_the_tail_of_a_queue_and_to_the_head_of_a_lane(client: redis.Redis, reader: Any) -> None:
    for name, order in (("work", ["2", "3", "1"]), (LANE, ["1", "2", "3"])):
        send(client, name, *"123")
        one = reader(name)
        one.read(3)
        one.consumer.cancel()
        one.channel.give_back([message.delivery_tag for message in one.got[1:]])
        one.got[0].reject(requeue=True)
        one.connection.release()
        assert waiting(client, name) == order


def test_a_message_rejected_for_good_is_kept(client: redis.Redis, reader: Any) -> None:
    send(client, "work", "1")
    one = reader("work")
    one.read(1)
    one.got[0].reject()
    eventually("it is kept", lambda: waiting(client, keys.REFUSED + "work") == ["1"] and nothing_claimed(client))


def test_a_message_without_acks_is_settled_by_its_delivery(client: redis.Redis, reader: Any) -> None:
    send(client, "work", *"12")
    assert reader("work", no_ack=True).read(2) == ["1", "2"]
    eventually("both are settled", lambda: nothing_claimed(client))


def test_scripts_are_known_from_the_start_and_learnt_again(client: redis.Redis, reader: Any) -> None:
    client.script_flush()
    send(client, "work", *"12")
    one = reader("work")
    one.read(2)
    client.script_flush()
    one.got[0].ack()
    one.pause()
    eventually("it is settled", lambda: client.hlen(client.keys(keys.CLAIMS + "*")[0]) == 1)


def test_one_message_can_be_got(client: redis.Redis, reader: Any) -> None:
    channel = reader("other").channel
    assert channel.basic_get("work") is None
    send(client, "work", "1", "2")
    channel.basic_get("work").ack()
    eventually("the first is settled", lambda: nothing_claimed(client) and waiting(client, "work") == ["2"])
    assert channel.basic_get("work", no_ack=True).body in ("2", b"2")
    eventually("the second is settled by being got", lambda: nothing_claimed(client))


def test_when_delivering_raises_the_rest_goes_back_in_order(client: redis.Redis, reader: Any) -> None:
    send(client, LANE, *"12345")
    one = reader(LANE)

    def fail_at_the_third(message: Any) -> None:
        if message.body == b"3":
            raise ZeroDivisionError
        one.got.append(message)

    one.consumer.on_message = fail_at_the_third
    with pytest.raises(ZeroDivisionError):
        one.read(5)
    eventually("the rest is back", lambda: waiting(client, LANE) == ["3", "4", "5"])
    assert [message.body for message in one.got] == [b"1", b"2"]


def test_the_message_tells_its_queue_and_its_deaths(client: redis.Redis, reader: Any) -> None:
    send(client, LANE, "1")
    claims = Claims(client)
    claims.join("dead", 60_000)
    held = claims.claim("dead", [(LANE, True)], 1).messages
    claims.mark_alone("dead", [held[0].token])
    end_lease(client, "dead")
    one = reader(LANE)
    one.read(1)
    info = one.got[0].delivery_info
    claim = info["claim"]
    assert (info["queue"], info["redelivered"], claim.deaths, claim.deaths_alone) == (LANE, True, 1, 1)


def test_the_batch_task_can_delay_and_mark(client: redis.Redis, reader: Any) -> None:
    send(client, "work", *"12")
    one = reader("work")
    one.read(2)
    first, second = (message.delivery_tag for message in one.got)
    one.channel.mark_alone([second])
    one.channel.delay(first, 3600)
    eventually("it is marked", lambda: client.hkeys(keys.ALONE) == [second.encode()])
    eventually("it is delayed", lambda: client.zcard(keys.DELAYED) == 1)
    assert list(one.channel.qos._delivered) == [second]


def test_what_cannot_be_read_is_handed_over_as_it_is_and_says_so(client: redis.Redis, reader: Any) -> None:
    client.lpush("work", b"\xff")
    send(client, "work", "good")
    one = reader("work")
    while len(one.got) < 2:
        one.connection.drain_events(timeout=5)
    assert [message.body for message in one.got] == [b"\xff", b"good"]
    assert [message.delivery_info["refused"] for message in one.got] == ["it is no JSON", ""]
    assert one.got[0].headers["task"] == UNREADABLE
    one.got[0].reject()
    eventually("it is set aside", lambda: client.lrange(keys.REFUSED + "work", 0, -1) == [b"\xff"])


def test_a_message_that_is_not_due_is_held_by_redis(client: redis.Redis, reader: Any) -> None:
    envelope = {"body": "later", "content-type": "text/plain", "content-encoding": "utf-8", "properties": {}}
    client.lpush("work", json.dumps(envelope | {"headers": {"eta": "2100-01-01T00:00:00+00:00"}}))
    client.lpush("work", json.dumps(envelope | {"body": "due", "headers": {"eta": "2000-01-01T00:00:00+00:00"}}))
    one = reader("work")
    assert one.read(1) == ["due"]
    assert one.got[0].headers["eta"] is None, "Celery must not ask this host's clock again"
    eventually("it is delayed", lambda: client.zcard(keys.DELAYED) == 1)


def test_it_works_over_a_unix_socket(local_binary: str, tmp_path: Path, reader: Any) -> None:
    with running(local_binary, tmp_path, "--unixsocket", str(tmp_path / "redis.sock")) as server:
        send(server.client, "work", "1")
        one = reader("work", url=f"redis+socket://{tmp_path}/redis.sock")
        assert one.read(1) == ["1"]
        one.connection.release()
        assert waiting(server.client, "work") == ["1"]
