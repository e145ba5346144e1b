"""Room for an account's messages: when the broker is looked at, and what is done when it does not answer."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Mapping
from typing import Any

import pytest

from shared.envelope import Enqueued
from workers.ingress.answer import Refused
from workers.ingress.company import COMPANY_SECONDS
from workers.ingress.quota import KNOWN_SECONDS_MAX, LOOK_SECONDS, Quota

MESSAGES_MAX = 100
SECONDS_MAX = 10


class Broker:
    """Tells how deep its one lane is, when it is up and the gate is open."""

    def __init__(self) -> None:
        self.depth = 0
        self.up = True
        self.looks = 0
        self.gate = threading.Event()
        self.gate.set()
        self.now = 1000.0

    def look(self) -> Mapping[str, int]:
        self.looks += 1
        assert self.gate.wait(SECONDS_MAX)
        if not self.up:
            raise ConnectionError
        return {"lane": self.depth}


def run(scenario: Callable[[Broker, Quota], Awaitable[Any]], alone_max: int = MESSAGES_MAX) -> None:
    async def play() -> None:
        broker = Broker()
        quota = Quota(broker.look, messages_max=alone_max, shared_max=MESSAGES_MAX, now=lambda: broker.now)
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await scenario(broker, quota)
        finally:
            broker.gate.set()
            await quota.close()

    asyncio.run(play())


def take(broker: Broker, quota: Quota, count: int, account: str = "a") -> bool:
    """Whether ``count`` messages are taken."""
    try:
        with quota.room(account, count):
            broker.depth += count
            quota.put(account, [Enqueued("lane", b"")] * count)
    except Refused:
        return False
    return True


async def look(broker: Broker, quota: Quota) -> None:
    """The next request, of somebody else, has the broker looked at."""
    looks = broker.looks
    broker.now += LOOK_SECONDS
    with quota.room("somebody else", 0):
        pass
    assert quota.looking is not None
    await quota.looking
    assert broker.looks == looks + 1


def test_an_account_is_refused_above_its_bound_and_taken_again_once_it_is_drained() -> None:
    async def scenario(broker: Broker, quota: Quota) -> None:
        await look(broker, quota)
        assert [take(broker, quota, 40) for _ in range(4)] == [True, True, False, False]
        assert take(broker, quota, 20)
        assert take(broker, quota, 40, "b")
        broker.depth = 0
        await look(broker, quota)
        assert take(broker, quota, MESSAGES_MAX)

    run(scenario)


def test_the_broker_is_looked_at_ten_times_a_second_at_most_and_never_without_requests() -> None:
    async def scenario(broker: Broker, quota: Quota) -> None:
        await look(broker, quota)
        for _ in range(50):
            broker.now += LOOK_SECONDS / 100
            take(broker, quota, 1)
            await asyncio.sleep(0)
        assert broker.looks == 1

    run(scenario)


def test_while_one_look_is_under_way_there_is_no_second() -> None:
    async def scenario(broker: Broker, quota: Quota) -> None:
        broker.gate.clear()
        take(broker, quota, 1)
        first = quota.looking
        for _ in range(5):
            broker.now += LOOK_SECONDS
            take(broker, quota, 1)
            await asyncio.sleep(0)
        assert quota.looking is first is not None

    run(scenario)


@pytest.mark.parametrize("hangs", [True, False])
def test_nobody_is_refused_for_what_the_broker_does_not_tell(hangs: bool) -> None:
    async def scenario(broker: Broker, quota: Quota) -> None:
        await look(broker, quota)
        assert take(broker, quota, MESSAGES_MAX)
        assert not take(broker, quota, 1)
        broker.up = False
        if hangs:
            broker.gate.clear()
        broker.now += KNOWN_SECONDS_MAX + LOOK_SECONDS
        assert all(take(broker, quota, MESSAGES_MAX) for _ in range(5))
        looking = quota.looking
        assert looking is not None
        broker.gate.set()
        await looking
        broker.up = True
        await look(broker, quota)
        assert not take(broker, quota, 1), "what was taken meanwhile waits, and is known again"

    run(scenario)


def test_requests_under_way_fill_the_room_whether_or_not_the_broker_answers() -> None:
    async def scenario(broker: Broker, quota: Quota) -> None:
        with quota.room("a", MESSAGES_MAX):
            assert not take(broker, quota, 1)
            assert take(broker, quota, 1, "b")
        assert take(broker, quota, MESSAGES_MAX)

    run(scenario)


def test_retry_after_is_as_long_as_the_oldest_has_waited_within_bounds() -> None:
    async def scenario(broker: Broker, quota: Quota) -> None:
        await look(broker, quota)
        take(broker, quota, MESSAGES_MAX)
        seconds = []
        for pause in (0.0, 6.5, 100.0):
            broker.now += pause
            await look(broker, quota)
            with pytest.raises(Refused) as refused, quota.room("a", 1):
                pass
            assert refused.value.answer.status == 429
            seconds.append(dict(refused.value.answer.headers)[b"retry-after"])
        assert seconds == [b"1", b"7", b"30"]

    run(scenario)


def test_who_has_the_fleet_to_himself_is_held_only_to_the_larger_bound() -> None:
    async def scenario(broker: Broker, quota: Quota) -> None:
        await look(broker, quota)
        assert [take(broker, quota, MESSAGES_MAX) for _ in range(6)] == [True] * 5 + [False]
        assert take(broker, quota, 1, "b")
        broker.depth = MESSAGES_MAX + 50
        await look(broker, quota)
        assert not take(broker, quota, 1), "now somebody else would wait"
        broker.now += COMPANY_SECONDS
        await look(broker, quota)
        assert take(broker, quota, 1), "and has not come back"

    run(scenario, alone_max=5 * MESSAGES_MAX)
