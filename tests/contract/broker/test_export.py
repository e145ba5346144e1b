"""Leaving the transport, and changing the number of lanes, on each Redis there is."""

import json

import pytest
import redis

from shared.broker import keys
from shared.broker.claims import Claims
from shared.broker.export import Exported, FleetRunning, change_lanes, export
from shared.broker.plain import lane_for
from shared.topology import lane_queues
from tests.claiming import waiting
from tests.redis_server import binaries
from tests.waiting import eventually

pytestmark = binaries


def test_a_stopped_fleet_leaves_only_plain_lists(client: redis.Redis) -> None:
    claims = Claims(client)
    claims.join("a", 200, lanes=4, single_active=["messages.00"])
    client.lpush("messages.00", *"12345")
    held = claims.claim("a", [("messages.00", True)], 3).messages
    claims.delay("a", held[0].token, 3600)
    claims.forward("a", [(held[1].token, keys.REFUSED + "messages.00")])
    with pytest.raises(FleetRunning, match="stop every worker"):
        export(client)

    def exported() -> Exported | None:
        try:
            return export(client)
        except FleetRunning:
            return None

    results: list[Exported] = []
    eventually("the lease ended", lambda: results or results.extend(filter(None, [exported()])))
    assert results == [Exported(claimed=1, delayed=1, refused=1)]
    assert waiting(client, "messages.00") == ["3", "4", "5", "1"]
    left = {name.decode() for name in client.keys("*")}
    assert left == {"messages.00", keys.LANES, keys.REFUSED + "messages.00"}
    assert export(client) == Exported(0, 0, 1), "a second time changes nothing"


def payload(conversation: str, number: int) -> str:
    body = json.dumps([[{"account_id": "acme", "conversation_id": conversation, "message_id": str(number)}], {}, {}])
    return json.dumps({"body": body, "headers": {"task": "messages.store"}, "properties": {}})


def lane(text: str, lanes: int) -> str:
    name = lane_for(text.encode(), lanes)
    assert name is not None
    return name


def test_another_number_of_lanes_keeps_every_conversation_in_order(client: redis.Redis) -> None:
    claims = Claims(client)
    sent = [payload(f"c{number % 7}", number) for number in range(70)]
    for text in sent[:60]:
        client.lpush(lane(text, 4), text)
    client.lpush("messages", *sent[60:])
    client.set(keys.LANES, 4)
    assert change_lanes(client, 16) == 60

    claims.join("a", 60_000, lanes=16, single_active=["messages"])
    messages = claims.claim("a", [("messages", True)], 100).messages
    claims.forward("a", [(message.token, lane(message.payload.decode(), 16)) for message in messages])
    stored = [json.loads(text) for name in lane_queues("messages", 16) for text in waiting(client, name)]
    assert len(stored) == 70
    for conversation in range(7):
        numbers = [int(json.loads(one["body"])[0][0]["message_id"]) for one in stored if f'"c{conversation}"' in one["body"]]
        assert numbers == list(range(conversation, 70, 7))


def test_webhooks_must_be_drained_before_lanes_change(client: redis.Redis) -> None:
    client.set(keys.LANES, 4)
    client.lpush("webhooks.03", "waiting")
    with pytest.raises(FleetRunning, match="webhooks wait in 1 lanes"):
        change_lanes(client, 8)
    assert client.get(keys.LANES) == b"4"
