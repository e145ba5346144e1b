"""What the claim scripts promise, on each Redis there is."""

from collections.abc import Iterator
from threading import Thread

import pytest
import redis

from shared.broker import calls, keys
from shared.broker.calls import LeaseLost
from shared.broker.claims import Claims
from shared.errors import ConfigurationError
from tests.redis_server import RedisServer, binaries, eventually, running

pytestmark = binaries
LANE = "messages.03"
LEASE_MS = 60_000


@pytest.fixture(scope="module")
def server(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(redis_binary, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> redis.Redis:
    server.client.flushdb()
    return server.client


@pytest.fixture
def claims(client: redis.Redis) -> Claims:
    claims = Claims(client)
    for consumer in ("a", "b"):
        claims.join(consumer, LEASE_MS)
    return claims


def publish(client: redis.Redis, name: str, *payloads: str) -> None:
    client.lpush(name, *payloads)


def waiting(client: redis.Redis, name: str) -> list[str]:
    """What waits in a list, the next first."""
    return [payload.decode() for payload in reversed(client.lrange(name, 0, -1))]


def take(claims: Claims, consumer: str, name: str = LANE, count: int = 100, single: bool = True) -> list[calls.Claim]:
    return claims.claim(consumer, [(name, single)], count).messages


def payloads(messages: list[calls.Claim]) -> list[str]:
    return [message.payload.decode() for message in messages]


def tokens(messages: list[calls.Claim]) -> list[str]:
    return [message.token for message in messages]


def end_lease(client: redis.Redis, consumer: str) -> None:
    client.zadd(keys.CONSUMERS, {consumer: 1})


def test_messages_are_claimed_in_the_order_of_arrival(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, *"12345")
    assert payloads(take(claims, "a", count=3)) == ["1", "2", "3"]
    assert waiting(client, LANE) == ["4", "5"]


def test_a_lane_is_closed_while_another_consumer_holds_a_claim_of_it(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, *"1234")
    held = take(claims, "a", count=2)
    assert take(claims, "b") == []
    claims.ack("a", tokens(held[:1]))
    assert take(claims, "b") == []
    assert payloads(take(claims, "a", count=1)) == ["3"], "its holder goes on"
    claims.ack("a", tokens(held[1:]))
    assert take(claims, "b") == []
    claims.give_back("a", [f"{LANE}|3"])
    assert payloads(take(claims, "b")) == ["3", "4"]


def test_an_unordered_queue_is_shared(client: redis.Redis, claims: Claims) -> None:
    publish(client, "replies", *"1234")
    assert payloads(take(claims, "a", "replies", 2, single=False)) == ["1", "2"]
    assert payloads(take(claims, "b", "replies", 2, single=False)) == ["3", "4"]


def test_all_priority_lists_of_a_queue_have_one_holder(client: redis.Redis, claims: Claims) -> None:
    normal, low, *_ = keys.lists_of("messages")
    publish(client, low, "later")
    assert payloads(take(claims, "a", low)) == ["later"]
    publish(client, normal, "now")
    assert take(claims, "b", normal) == []


def test_a_deep_lane_leaves_the_others_their_share(client: redis.Redis, claims: Claims) -> None:
    publish(client, "messages.00", *map(str, range(500)))
    publish(client, "messages.01", "x", "y")
    got = claims.claim("a", [("messages.00", True), ("messages.01", True)], 10).messages
    assert len(got) == 10
    assert {"x", "y"} <= set(payloads(got))


def test_a_claim_is_bounded_in_bytes_and_takes_one_message_however_large(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "x" * 5000, "y" * 600, "z" * 600)
    got = claims.claim("a", [(LANE, True)], 100, bytes_max=1000).messages
    assert [len(message.payload) for message in got] == [5000]
    got = claims.claim("a", [(LANE, True)], 100, bytes_max=1000).messages
    assert payloads(got) == ["y" * 600]
    assert waiting(client, LANE) == ["z" * 600]


def test_what_is_given_back_stands_at_the_head_in_its_order(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, *"12345")
    held = take(claims, "a", count=4)
    claims.ack("a", tokens(held[:1]))
    assert claims.give_back("a", tokens([held[3], held[1], held[2]])) == 3
    assert waiting(client, LANE) == ["2", "3", "4", "5"]
    assert claims.give_back("a", tokens(held)) == 0, "a second time changes nothing"
    assert [message.deaths for message in take(claims, "b")] == [0, 0, 0, 0]


def test_many_claims_are_given_back_in_order_over_several_calls(client: redis.Redis, claims: Claims) -> None:
    sent = [str(number) for number in range(3 * calls.TOKENS_MAX)]
    publish(client, LANE, *sent)
    held = take(claims, "a", count=len(sent))
    assert claims.give_back("a", tokens(held)) == len(sent)
    assert waiting(client, LANE) == sent
    take(claims, "a", count=len(sent))
    claims.leave("a")
    assert waiting(client, LANE) == sent
    assert payloads(take(claims, "b", count=1)) == ["0"]


def test_only_the_holder_settles_a_claim(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1")
    held = take(claims, "a")
    assert claims.ack("b", tokens(held)) == 0
    assert claims.ack("a", tokens(held)) == 1
    assert claims.ack("a", tokens(held)) == 0
    assert client.exists(keys.HELD, keys.CLAIMS + "a") == 0


def test_work_of_a_dead_consumer_returns_to_the_head_with_a_death(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, *"12345")
    held = take(claims, "a", count=3)
    claims.mark_alone("a", tokens(held[1:2]))
    end_lease(client, "a")
    assert claims.reap() == ("a", 3, 0)
    assert claims.reap() == ("", 0, 0)
    assert waiting(client, LANE) == ["1", "2", "3", "4", "5"]
    again = take(claims, "b", count=4)
    assert [(message.deaths, message.deaths_alone) for message in again] == [(1, 0), (1, 1), (1, 0), (0, 0)]
    claims.ack("b", tokens(again))
    assert client.exists(keys.DEATHS) == 0, "a settled message leaves no trace"


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
    eventually(lambda: claims.reap().consumer == "short", "a lease of 50 ms ends")
    assert set(claims.members().single_active) == {"a", "b"}


def test_a_delayed_message_waits_in_redis_and_returns_unchanged(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "binary \x00\n| one", "2")
    held = take(claims, "a")
    assert claims.delay("a", held[0].token, 0.05) == 1
    claims.ack("a", tokens(held[1:]))
    assert client.exists(keys.HELD) == 0, "it holds no lane"
    moved, next_ms = claims.promote()
    assert (moved, 0 < next_ms <= 50) == (0, True)
    eventually(lambda: claims.promote().moved == 1, "it becomes due")
    assert waiting(client, LANE) == ["binary \x00\n| one"]
    assert client.exists(keys.DELAYED) == 0


def test_forwarded_messages_keep_their_order(client: redis.Redis, claims: Claims) -> None:
    publish(client, "messages", *"123456")
    held = take(claims, "a", "messages")
    targets = [(message.token, f"messages.0{int(message.payload) % 2}") for message in held]
    assert claims.forward("a", targets) == 6
    assert waiting(client, "messages.00") == ["2", "4", "6"]
    assert waiting(client, "messages.01") == ["1", "3", "5"]
    assert client.exists(keys.HELD, keys.CLAIMS + "a") == 0
    assert claims.forward("a", targets) == 0, "a second time changes nothing"


def test_a_paused_queue_is_kept_and_not_claimed(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1")
    claims.pause([LANE])
    assert take(claims, "a") == []
    assert claims.paused() == {LANE}
    claims.resume([LANE])
    assert payloads(take(claims, "a")) == ["1"]


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


def test_a_list_of_another_type_costs_no_message(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1")
    client.set("messages.04", "not a list")
    got = claims.claim("a", [(LANE, True), ("messages.04", True)], 10).messages
    assert payloads(got) == ["1"]


def test_a_server_that_forgot_the_scripts_is_taught_them(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1")
    client.script_flush()
    assert payloads(take(claims, "a")) == ["1"]


def test_everything_but_publishing_goes_on_when_redis_is_full(client: redis.Redis, claims: Claims) -> None:
    client.script_flush()
    publish(client, LANE, *map(str, range(8)))
    publish(client, "messages", "plain")
    client.config_set("maxmemory-policy", "noeviction")
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(redis.ResponseError, match="maxmemory"):
            publish(client, LANE, "refused")
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
        eventually(lambda: claims.reap().consumer == "b", "its lease ends")
        claims.renew("a", 1)
        reaped: list[calls.Reaped] = []
        eventually(lambda: reaped.append(claims.reap()) or reaped[-1].consumer == "a", "its lease ends")
        assert reaped[-1].returned == 3
        claims.leave("late")
    finally:
        client.config_set("maxmemory", "0")
    assert waiting(client, LANE) == ["2", "3", "4", "5", "6", "7", "1", "plain"]


def test_threads_of_consumers_lose_and_double_nothing_and_keep_each_lanes_order(server: RedisServer, client: redis.Redis) -> None:
    lanes = [(f"messages.{number:02d}", True) for number in range(4)]
    for name, _ in lanes:
        publish(client, name, *(f"{name}:{number:04d}" for number in range(500)))
    settled: list[str] = []

    def consume(consumer: str) -> None:
        own = Claims(redis.Redis(port=server.port, socket_timeout=5, retry=None))
        own.join(consumer, LEASE_MS)
        turn = 0
        while len(settled) < 2000:
            turn += 1
            messages = own.claim(consumer, lanes[turn % 4 :] + lanes[: turn % 4], 37).messages
            if turn % 5 == 0:
                own.give_back(consumer, tokens(messages))
                continue
            settled.extend(payloads(messages))
            own.ack(consumer, tokens(messages))

    threads = [Thread(target=consume, args=(f"t{number}",)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(30)
    assert len(settled) == len(set(settled)) == 2000
    for name, _ in lanes:
        mine = [payload for payload in settled if payload.startswith(name)]
        assert mine == sorted(mine)
