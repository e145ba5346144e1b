"""The claim scripts against a model in plain Python: whatever the order of operations, the broker holds what the model holds."""

from collections import defaultdict
from itertools import count

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule, run_state_machine_as_test

from shared.broker import keys
from shared.broker.calls import LeaseLost
from shared.broker.claims import Claims
from shared.broker.lanes import is_single_active
from tests.redis_server import RedisServer, binaries

pytestmark = binaries

LISTS = ("messages", "messages.00", "messages.01", "replies")
CONSUMERS = ("a", "b", "c")


class Broker(RuleBasedStateMachine):
    """Lists as Python lists, the next message first; claims as dicts by consumer, in the order in which they were made."""

    server: RedisServer

    def __init__(self) -> None:
        super().__init__()
        self.client = self.server.client
        self.client.flushdb()
        self.claims = Claims(self.client)
        self.numbers = count()
        self.lists: dict[str, list[bytes]] = defaultdict(list)
        self.claimed: dict[str, dict[str, bytes]] = {consumer: {} for consumer in CONSUMERS}
        self.delayed: list[tuple[str, bytes]] = []
        self.deaths: dict[bytes, int] = defaultdict(int)
        self.paused: set[str] = set()
        self.published: set[bytes] = set()
        self.settled: list[bytes] = []
        for consumer in CONSUMERS:
            self.claims.join(consumer, 3_600_000)

    def holders(self, name: str) -> set[str]:
        return {consumer for consumer, held in self.claimed.items() if any(keys.list_of(token) == name for token in held)}

    def take_out(self, consumer: str, tokens: list[str]) -> list[tuple[str, bytes]]:
        return [(token, self.claimed[consumer].pop(token)) for token in tokens if token in self.claimed[consumer]]

    def put_back(self, taken: list[tuple[str, bytes]]) -> None:
        for token, payload in sorted(taken, key=lambda pair: -int(pair[0].rpartition("|")[2])):
            self.lists[keys.list_of(token)].insert(0, payload)

    def some(self, consumer: str, data: st.DataObject) -> list[str]:
        return data.draw(st.lists(st.sampled_from(sorted(self.claimed[consumer])), unique=True)) if self.claimed[consumer] else []

    @rule(name=st.sampled_from(LISTS), number=st.integers(1, 5))
    def publish(self, name: str, number: int) -> None:
        payloads = [b"%s:%06d" % (name.encode(), next(self.numbers)) for _ in range(number)]
        self.client.lpush(name, *payloads)
        self.lists[name] += payloads
        self.published.update(payloads)

    @rule(consumer=st.sampled_from(CONSUMERS), room=st.integers(1, 8), names=st.permutations(LISTS))
    def claim(self, consumer: str, room: int, names: list[str]) -> None:
        opened = [
            name for name in names if name not in self.paused and not (is_single_active(name) and self.holders(name) - {consumer})
        ]
        waiting = sum(len(self.lists[name]) for name in opened)
        got = self.claims.claim(consumer, [(name, is_single_active(name)) for name in names], room).messages
        assert len(got) == min(room, waiting)
        for message in got:
            name = keys.list_of(message.token)
            assert name in opened, "a lane has one holder"
            assert self.lists[name].pop(0) == message.payload, "a list is read in its order"
            assert message.deaths == self.deaths[message.payload]
            self.claimed[consumer][message.token] = message.payload

    @rule(consumer=st.sampled_from(CONSUMERS), other=st.sampled_from(CONSUMERS), data=st.data())
    def ack(self, consumer: str, other: str, data: st.DataObject) -> None:
        tokens = self.some(consumer, data)
        if not tokens:
            return
        if other != consumer:
            assert self.claims.ack(other, tokens) == 0
        assert self.claims.ack(consumer, tokens) == len(tokens)
        for _, payload in self.take_out(consumer, tokens):
            self.settled.append(payload)
            self.deaths.pop(payload, None)

    @rule(consumer=st.sampled_from(CONSUMERS), data=st.data())
    def give_back(self, consumer: str, data: st.DataObject) -> None:
        tokens = self.some(consumer, data)
        if tokens:
            self.claims.give_back(consumer, tokens)
            self.claims.give_back(consumer, tokens)
            self.put_back(self.take_out(consumer, tokens))

    @rule(consumer=st.sampled_from(CONSUMERS))
    def leave(self, consumer: str) -> None:
        self.claims.leave(consumer)
        with pytest.raises(LeaseLost):
            self.claims.renew(consumer, 1)
        self.put_back(self.take_out(consumer, list(self.claimed[consumer])))
        self.claims.join(consumer, 3_600_000)

    @rule(consumer=st.sampled_from(CONSUMERS))
    def die(self, consumer: str) -> None:
        self.client.zadd(keys.CONSUMERS, {consumer: 1})
        assert self.claims.reap() == (consumer, len(self.claimed[consumer]), 0)
        taken = self.take_out(consumer, list(self.claimed[consumer]))
        for _, payload in taken:
            self.deaths[payload] += 1
        self.put_back(taken)
        self.claims.join(consumer, 3_600_000)

    @rule(consumer=st.sampled_from(CONSUMERS), data=st.data())
    def delay(self, consumer: str, data: st.DataObject) -> None:
        for token in self.some(consumer, data)[:1]:
            assert self.claims.delay(consumer, token, 0) == 1
            self.delayed += self.take_out(consumer, [token])

    @precondition(lambda self: self.delayed)
    @rule()
    def promote(self) -> None:
        before = {name: len(self.lists[name]) for name in LISTS}
        assert self.claims.promote().moved == len(self.delayed)
        for name in LISTS:
            mine = {payload for token, payload in self.delayed if keys.list_of(token) == name}
            tail = self.contents(name)[before[name] :]
            assert set(tail) == mine, "they go to the tail"
            self.lists[name] += tail
        self.delayed.clear()

    @rule(consumer=st.sampled_from(CONSUMERS), lane=st.sampled_from(LISTS[1:3]), data=st.data())
    def forward(self, consumer: str, lane: str, data: st.DataObject) -> None:
        tokens = [token for token in self.some(consumer, data) if keys.list_of(token) == "messages"]
        if tokens:
            assert self.claims.forward(consumer, [(token, lane) for token in tokens]) == len(tokens)
            self.lists[lane] += [payload for _, payload in self.take_out(consumer, tokens)]

    @rule(name=st.sampled_from(LISTS))
    def pause_or_resume(self, name: str) -> None:
        (self.claims.resume if name in self.paused else self.claims.pause)([name])
        self.paused ^= {name}

    def contents(self, name: str) -> list[bytes]:
        return list(reversed(self.client.lrange(name, 0, -1)))

    @invariant()
    def the_broker_holds_what_the_model_holds(self) -> None:
        for name in LISTS:
            assert self.contents(name) == self.lists[name]
        held: dict[bytes, bytes] = {}
        for consumer, claimed in self.claimed.items():
            stored = self.client.hgetall(keys.CLAIMS + consumer)
            assert {token.decode(): payload for token, payload in stored.items()} == claimed
            for name in filter(is_single_active, LISTS):
                number = sum(keys.list_of(token) == name for token in claimed)
                if number:
                    assert name.encode() not in held, "a lane has one holder"
                    held[name.encode()] = b"%s %d" % (consumer.encode(), number)
        assert self.client.hgetall(keys.HELD) == held
        everywhere = [payload for name in LISTS for payload in self.lists[name]]
        everywhere += [payload for claimed in self.claimed.values() for payload in claimed.values()]
        everywhere += [payload for _, payload in self.delayed] + self.settled
        assert sorted(everywhere) == sorted(self.published), "every message is in one place"


def test_every_message_is_in_one_place_and_every_lane_in_order(server: RedisServer) -> None:
    class OnServer(Broker):
        pass

    OnServer.server = server
    run_state_machine_as_test(
        OnServer,
        settings=settings(
            max_examples=40,
            stateful_step_count=40,
            deadline=None,
            database=None,
            suppress_health_check=[HealthCheck.too_slow],
        ),
    )
