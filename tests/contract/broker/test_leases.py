"""What the claim scripts promise of consumers: leases, deaths, lanes, and a Redis that is full."""

import pytest
import redis

from shared.broker import calls, keys
from shared.broker.calls import LeaseLost
from shared.broker.claims import Claims
from shared.errors import ConfigurationError
from tests.claiming import LANE, LEASE_MS, end_lease, payloads, publish, take, tokens, waiting
from tests.redis_server import binaries
from tests.waiting import eventually

pytestmark = binaries


def test_work_of_a_dead_consumer_returns_to_the_head_with_a_death(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, *"12345")
    held = take(claims, "a", count=3)
    claims.mark_alone("a", tokens(held[1:2]))
    end_lease(client, "a")
    assert claims.reap() == ("a", 3, 0)
    assert claims.reap() == ("", 0, 0)
    assert waiting(client, LANE) == ["1", "2", "3", "4", "5"]
    assert client.exists(keys.ALONE) == 0
    again = take(claims, "b", count=4)
    assert [(message.deaths, message.deaths_alone) for message in again] == [(1, 0), (1, 1), (1, 0), (0, 0)]
    claims.ack("b", tokens(again))
    assert client.exists(keys.DEATHS) == 0, "a settled message leaves no trace"


def test_a_consumer_of_another_format_of_the_keys_is_refused_and_told_what_to_do(client: redis.Redis, claims: Claims) -> None:
    assert int(client.get(keys.FORMAT) or 0) == keys.FORMAT_KNOWN
    client.set(keys.FORMAT, keys.FORMAT_KNOWN + 1)
    with pytest.raises(ConfigurationError, match=r"writes format 2, this Headrace 1: run the version that it was made by"):
        claims.join("newcomer", LEASE_MS)
    assert b"newcomer" not in client.zrange(keys.CONSUMERS, 0, -1)


def test_what_is_settled_is_counted_by_kind(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1", "2", "3")
    held = take(claims, "a", count=3)
    claims.ack("a", tokens(held[:2]))
    claims.ack("a", tokens(held[:2]))
    assert client.hgetall(keys.SETTLED) == {b"messages": b"2"}
    claims.give_back("a", tokens(held[2:]))
    assert client.hgetall(keys.SETTLED) == {b"messages": b"2"}


def test_deaths_add_up_until_the_message_is_settled(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "poison")
    for deaths in range(3):
        claims.join(f"c{deaths}", LEASE_MS)
        (message,) = take(claims, f"c{deaths}")
        assert (message.deaths, message.deaths_alone) == (deaths, deaths)
        claims.mark_alone(f"c{deaths}", [message.token])
        end_lease(client, f"c{deaths}")
        claims.reap()


def test_a_consumer_that_lost_its_lease_can_neither_renew_claim_nor_settle(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1", "2")
    held = take(claims, "a", count=1)
    end_lease(client, "a")
    claims.reap()
    (again,) = take(claims, "b", count=1)
    assert again.payload == b"1"
    assert claims.ack("a", tokens(held)) == 0
    assert claims.give_back("a", tokens(held)) == 0
    assert claims.delay("a", held[0].token, 1) == 0
    assert claims.forward("a", [(held[0].token, "messages.00")]) == 0
    with pytest.raises(LeaseLost):
        claims.renew("a", LEASE_MS)
    with pytest.raises(LeaseLost):
        take(claims, "a")
    assert claims.ack("b", [again.token]) == 1


def test_a_lease_that_ended_unnoticed_is_renewed(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1")
    held = take(claims, "a")
    end_lease(client, "a")
    claims.renew("a", LEASE_MS)
    assert claims.reap().consumer == ""
    assert claims.ack("a", tokens(held)) == 1


@pytest.mark.parametrize(
    ("looked_ms_ago", "patience", "taken"),
    [
        pytest.param(LEASE_MS // 2 - 1_000, ("regular", -1), True, id="looks are regular"),
        pytest.param(LEASE_MS // 2 + 1_000, ("regular", -1), False, id="nobody was served"),
        pytest.param(LEASE_MS // 3, ("late", 5_000), False, id="nobody was served until a moment ago"),
        pytest.param(LEASE_MS // 3, ("regular", -1), True, id="nobody was served until half a lease ago"),
        pytest.param(LEASE_MS, ("late", -1), True, id="one that is alone is always late"),
        pytest.param(-9 * LEASE_MS, ("regular", 9 * LEASE_MS), True, id="the clock was set back"),
    ],
)
def test_a_lease_that_ended_while_nobody_was_served_is_no_death_before_its_consumer_could_renew(
    client: redis.Redis, claims: Claims, looked_ms_ago: int, patience: tuple[str, int], taken: bool
) -> None:
    publish(client, LANE, "1")
    take(claims, "a")
    end_lease(client, "a")
    seconds, micros = client.time()
    now = seconds * 1000 + micros // 1000
    client.set(keys.LOOKED, f"{now - looked_ms_ago} {patience[0]} {now + patience[1]}")
    assert claims.reap(LEASE_MS).consumer == ("a" if taken else "")
    assert waiting(client, LANE) == (["1"] if taken else [])


def test_a_large_consumer_is_reaped_in_bounded_steps_and_its_lane_stays_closed(client: redis.Redis, claims: Claims) -> None:
    sent = [str(number) for number in range(2 * calls.REAP_MAX + 1)]
    publish(client, LANE, *sent)
    take(claims, "a", count=len(sent))
    end_lease(client, "a")
    for left in (calls.REAP_MAX + 1, 1):
        assert claims.reap() == ("a", calls.REAP_MAX, left)
        assert take(claims, "b") == []
        with pytest.raises(LeaseLost):
            claims.renew("a", LEASE_MS)
    assert claims.reap() == ("a", 1, 0)
    assert waiting(client, LANE) == sent


def test_the_lease_is_measured_by_the_server(client: redis.Redis, claims: Claims) -> None:
    claims.join("short", 50)
    claims.renew("short", 50)
    eventually("a lease of 50 ms ends", lambda: claims.reap().consumer == "short")
    assert set(claims.members().single_active) == {"a", "b"}


def test_a_process_with_another_number_of_lanes_is_refused(client: redis.Redis, claims: Claims) -> None:
    claims.join("c", LEASE_MS, lanes=32)
    claims.join("d", LEASE_MS, lanes=32)
    with pytest.raises(ConfigurationError, match="HEADRACE_LANES is 16"):
        claims.join("e", LEASE_MS, lanes=16)
    assert "e" not in claims.members().single_active


def test_the_epoch_changes_when_a_consumer_joins_changes_or_leaves(client: redis.Redis, claims: Claims) -> None:
    epochs = [claims.members().epoch]

    def changed() -> bool:
        epochs.append(claims.claim("a", [(LANE, True)], 1).epoch)
        return epochs[-1] != epochs[-2]

    claims.join("c", LEASE_MS, single_active=[LANE])
    assert changed()
    claims.join("c", LEASE_MS, single_active=[])
    assert changed()
    claims.renew("c", LEASE_MS)
    assert not changed()
    claims.leave("c")
    assert changed()
    end_lease(client, "b")
    claims.reap()
    assert changed()


def test_everything_but_publishing_goes_on_when_redis_is_full(client: redis.Redis, claims: Claims) -> None:
    client.script_flush()
    publish(client, LANE, *map(str, range(8)))
    publish(client, "messages", "plain")
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            publish(client, LANE, "refused")
        claims.teach()
        held = take(claims, "a", count=6)
        assert payloads(held) == list("012345")
        claims.renew("a", LEASE_MS)
        claims.join("late", LEASE_MS, single_active=[LANE])
        assert claims.mark_alone("a", tokens(held[:1])) == 1
        assert claims.ack("a", tokens(held[:1])) == 1
        assert claims.give_back("a", tokens(held[5:])) == 1
        assert claims.delay("a", held[1].token, 0) == 1
        assert claims.promote().moved == 1
        assert claims.members().single_active["late"] == {LANE}
        claims.pause(["messages"])
        assert take(claims, "b", "messages") == []
        claims.resume(["messages"])
        (plain,) = take(claims, "b", "messages")
        assert claims.forward("b", [(plain.token, LANE)]) == 1
        claims.renew("b", 1)
        eventually("its lease ends", lambda: claims.reap().consumer == "b")
        claims.renew("a", 1)
        reaped: list[calls.Reaped] = []
        eventually("its lease ends", lambda: reaped.append(claims.reap()) or reaped[-1].consumer == "a")
        assert reaped[-1].returned == 3
        claims.leave("late")
    finally:
        client.config_set("maxmemory", "0")
    assert waiting(client, LANE) == ["2", "3", "4", "5", "6", "7", "1", "plain"]
