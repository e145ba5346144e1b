"""Group commit: who is answered when, and what an outage, a slow write or a client that leaves may do."""

import asyncio
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any

import pytest

from shared.envelope import Enqueued
from shared.errors import BrokerUnavailable
from workers.ingress.publisher import Overloaded, Publisher

SECONDS_MAX = 10


def message(name: object) -> Enqueued:
    return Enqueued("q", str(name).encode())


class Broker:
    """Writes when it is let, and fails when it is told to."""

    def __init__(self) -> None:
        self.writes: list[list[bytes]] = []
        self.begun = threading.Semaphore(0)
        self.gate = threading.Semaphore(0)
        self.fault: Exception | None = None

    def publish(self, messages: Sequence[Enqueued], /) -> None:
        self.begun.release()
        assert self.gate.acquire(timeout=SECONDS_MAX)
        if self.fault:
            raise self.fault
        self.writes.append([it.payload for it in messages])

    async def writing(self) -> None:
        assert await asyncio.to_thread(self.begun.acquire, timeout=SECONDS_MAX)

    def let(self, writes: int = 1) -> None:
        self.gate.release(writes)


def run(scenario: Callable[[Broker, Publisher], Awaitable[None]], **changes: Any) -> None:
    async def play() -> None:
        limits = {"linger_seconds": 0.001, "messages_max": 10, "waiting_max": 100, "timeout_seconds": SECONDS_MAX, **changes}
        broker = Broker()
        publisher = Publisher(broker, **limits)
        try:
            async with asyncio.timeout(SECONDS_MAX):
                await scenario(broker, publisher)
        finally:
            broker.let(1000)
            await publisher.close()

    asyncio.run(play())


async def turns(count: int = 3) -> None:
    for _ in range(count):
        await asyncio.sleep(0)


def start(publisher: Publisher, *names: object) -> asyncio.Task[None]:
    return asyncio.create_task(publisher.publish([message(name) for name in names]))


def test_a_request_is_answered_only_after_the_write_and_waits_for_others_to_share_it() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        first, second = start(publisher, 1), start(publisher, 2, 3)
        await broker.writing()
        late = start(publisher, 4)
        await turns()
        assert not first.done()
        assert not second.done()
        broker.let()
        await asyncio.gather(first, second)
        assert broker.writes == [[b"1", b"2", b"3"]]
        assert not late.done()
        broker.let()
        await late
        assert broker.writes[1] == [b"4"]

    run(scenario)


def test_a_write_has_at_most_so_many_messages_and_splits_no_request() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        broker.let(10)
        tasks = [start(publisher, *range(size)) for size in (6, 5, 4, 30, 1)]
        await asyncio.gather(*tasks)
        assert [len(write) for write in broker.writes] == [6, 9, 30, 1]

    run(scenario)


def test_large_messages_make_smaller_writes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("workers.ingress.publisher.WRITE_BYTES_MAX", 100)

    async def scenario(broker: Broker, publisher: Publisher) -> None:
        broker.let(10)
        await asyncio.gather(*(start(publisher, "x" * 60) for _ in range(5)))
        assert [len(write) for write in broker.writes] == [2, 2, 1]

    run(scenario)


def test_a_client_that_leaves_takes_nothing_with_it() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        leaves, stays = start(publisher, 1), start(publisher, 2)
        await broker.writing()
        waits = start(publisher, 3)
        leaves_too = start(publisher, 4)
        await turns()
        leaves.cancel()
        leaves_too.cancel()
        broker.let(2)
        await asyncio.gather(stays, waits)
        assert broker.writes == [[b"1", b"2"], [b"3", b"4"]]

    run(scenario)


def test_beyond_the_bound_a_request_is_refused_and_later_taken_again() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        held = [start(publisher, *range(50)), start(publisher, *range(50))]
        await broker.writing()
        with pytest.raises(Overloaded):
            await publisher.publish([message("one too many")])
        broker.let(2)
        await asyncio.gather(*held)
        broker.let()
        await publisher.publish([message("fits again")])

    run(scenario)


def test_a_failed_write_refuses_its_batch_and_whoever_came_meanwhile_and_the_next_tries_again() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        broker.fault = BrokerUnavailable("down")
        first = start(publisher, 1)
        await broker.writing()
        second = start(publisher, 2)
        await turns()
        broker.let()
        results = await asyncio.gather(first, second, return_exceptions=True)
        assert [type(it) for it in results] == [BrokerUnavailable, BrokerUnavailable]
        broker.fault = None
        broker.let()
        await publisher.publish([message(3)])
        assert broker.writes == [[b"3"]]

    run(scenario)


def test_while_the_broker_is_down_one_request_tries_it_and_the_others_are_told_at_once() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        broker.fault = BrokerUnavailable("down")
        broker.let()
        with pytest.raises(BrokerUnavailable):
            await publisher.publish([message(1)])
        await broker.writing()
        probe = start(publisher, 2)
        await broker.writing()
        for number in range(100):
            with pytest.raises(BrokerUnavailable):
                await publisher.publish([message(number)])
        assert not probe.done()
        broker.fault = None
        broker.let()
        await probe

    run(scenario)


def test_a_write_without_an_answer_in_time_is_refused_and_its_late_success_ends_the_outage() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        with pytest.raises(BrokerUnavailable):
            await publisher.publish([message(1)])
        with pytest.raises(BrokerUnavailable):
            await publisher.publish([message(2)])
        broker.let(2)
        while True:
            try:
                await publisher.publish([message(3)])
                break
            except BrokerUnavailable:
                await asyncio.sleep(0)
        assert broker.writes[0] == [b"1"]
        assert set(map(tuple, broker.writes[1:])) == {(b"3",)}  # again when its answer, too, was late: a machine may be that busy

    run(scenario, timeout_seconds=0.05)


def test_an_error_nobody_foresaw_is_an_outage_and_stops_nothing() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        broker.fault = MemoryError()
        broker.let(2)
        with pytest.raises(BrokerUnavailable):
            await publisher.publish([message(1)])
        broker.fault = None
        await publisher.publish([message(2)])

    run(scenario)


def test_closing_writes_what_waits() -> None:
    async def scenario(broker: Broker, publisher: Publisher) -> None:
        waiting = start(publisher, 1)
        await turns()
        broker.let()
        await publisher.close()
        await waiting
        assert broker.writes == [[b"1"]]

    run(scenario)
