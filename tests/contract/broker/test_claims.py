"""What the claim scripts promise of messages, on each Redis there is."""

from collections import Counter
from threading import Thread

import redis

from shared.broker import calls, keys
from shared.broker.claims import Claims
from tests.claiming import LANE, LEASE_MS, payloads, publish, take, tokens, waiting
from tests.redis_server import RedisServer, binaries
from tests.waiting import eventually

pytestmark = binaries


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


def test_deep_lanes_share_what_shallow_ones_leave_of_a_claim(client: redis.Redis, claims: Claims) -> None:
    lanes = [f"messages.{number:02d}" for number in range(8)]
    for lane in lanes[:4]:
        publish(client, lane, *map(str, range(500)))
    publish(client, lanes[4], *map(str, range(90)))
    publish(client, lanes[5], "x")
    got = claims.claim("a", [(lane, True) for lane in lanes], 800).messages
    assert len(got) == 800, "the claim is filled"
    taken = Counter(keys.list_of(message.token) for message in got)
    assert (taken[lanes[4]], taken[lanes[5]]) == (90, 1)
    deep = [taken[lane] for lane in lanes[:4]]
    assert max(deep) - min(deep) <= 1, f"equal shares of the rest, whoever is first: {deep}"


def test_a_claim_smaller_than_the_lanes_are_many_gives_the_first_ones_a_message_each(client: redis.Redis, claims: Claims) -> None:
    lanes = [f"messages.{number:02d}" for number in range(8)]
    for lane in lanes:
        publish(client, lane, *map(str, range(20)))
    got = claims.claim("a", [(lane, True) for lane in lanes], 5).messages
    assert [keys.list_of(message.token) for message in got] == lanes[:5]


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


def test_a_delayed_message_waits_in_redis_and_returns_unchanged(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "binary \x00\n| one", "2")
    held = take(claims, "a")
    assert claims.delay("a", held[0].token, 0.05) == 1
    claims.ack("a", tokens(held[1:]))
    assert client.exists(keys.HELD) == 0, "it holds no lane"
    moved, next_ms = claims.promote()
    assert (moved, 0 < next_ms <= 50) == (0, True)
    eventually("it becomes due", lambda: claims.promote().moved == 1)
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


def test_a_list_of_another_type_costs_no_message(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1")
    client.set("messages.04", "not a list")
    got = claims.claim("a", [(LANE, True), ("messages.04", True)], 10).messages
    assert payloads(got) == ["1"]


def test_a_server_that_forgot_the_scripts_is_taught_them(client: redis.Redis, claims: Claims) -> None:
    publish(client, LANE, "1")
    client.script_flush()
    assert payloads(take(claims, "a")) == ["1"]


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
