"""What becomes of claims when the link to the broker breaks."""

from typing import Any

import pytest
import redis

from shared.broker import keys
from shared.broker.claims import Claims
from tests.reading import Reader, nothing_claimed, send, waiting
from tests.redis_server import binaries
from tests.waiting import eventually

pytestmark = binaries
LANE = "messages.00"


def cut(one: Reader) -> None:
    """Its link to the broker, which it has not noticed yet."""
    one.channel.client.connection.disconnect()


def test_what_is_worked_on_when_the_link_breaks_is_the_next_channels_and_the_rest_goes_back(
    client: redis.Redis, claims: Claims, reader: Any
) -> None:
    send(client, LANE, *"12345")
    one = reader(LANE)
    one.read(5)
    settled, worked_on = one.got[0], one.got[1].delivery_tag
    one.channel.working = lambda: {worked_on: 1}
    cut(one)
    with pytest.raises(one.connection.connection_errors):
        settled.ack()
    one.connection.release()
    assert waiting(client, LANE) == [], "its claims stand"
    two = reader(LANE)
    two.channel.working = one.channel.working
    assert two.read(3) == ["3", "4", "5"], "in their order; what was settled is, though it could not be said at once"
    assert two.channel.holds(worked_on)
    assert not one.channel.holds(worked_on)
    assert [message.deaths for message in claims.claim("a", [(LANE, True)], 1).messages] == [], "nobody else has the lane"
    two.channel.settle([worked_on, *(message.delivery_tag for message in two.got)])
    eventually("all is settled", lambda: nothing_claimed(client))
    assert not client.exists(keys.HELD, keys.DEATHS)


def test_a_lease_that_ended_while_the_link_was_broken_keeps_nothing(client: redis.Redis, claims: Claims, reader: Any) -> None:
    send(client, LANE, *"123")
    one = reader(LANE)
    one.read(3)
    worked_on = {message.delivery_tag: 1 for message in one.got[:2]}
    (consumer,) = {member.decode() for member in client.zrange(keys.CONSUMERS, 0, -1)} - {"a", "b"}
    one.channel.working = lambda: worked_on
    cut(one)
    client.zrem(keys.CONSUMERS, consumer)
    one.connection.release()
    two = reader(LANE)
    two.channel.working = one.channel.working
    assert two.read(3) == ["1", "2", "3"]
    assert not any(map(two.channel.holds, worked_on))


def test_a_consumer_that_stops_behind_a_broken_link_settles_and_gives_back_over_a_new_one(
    client: redis.Redis, reader: Any
) -> None:
    send(client, LANE, *"123")
    one = reader(LANE)
    one.read(3)
    cut(one)
    one.consumer.cancel()
    with pytest.raises(one.connection.connection_errors):
        one.got[0].ack()
    one.connection.release()
    assert waiting(client, LANE) == ["2", "3"]
    assert not client.exists(keys.CONSUMERS, keys.HELD, keys.DEATHS)
