"""Sending: open loop for the fleet, one at a time for a conversation, the same id again when refused."""

import asyncio
from collections import Counter
from collections.abc import Callable

import pytest

from loadgen import dispatcher
from loadgen.dispatcher import Dispatcher
from loadgen.pacer import Pacer
from loadgen.recorder import Recorder
from loadgen.scenario import Scenario
from loadgen.senders import NotAccepted
from shared.message import Message


class FakeLink:
    """Hands each message to ``answer``, which may wait or raise."""

    def __init__(self, answer: Callable[[Message], object]) -> None:
        self._answer = answer

    async def send(self, account: int, message: Message) -> None:
        if asyncio.iscoroutine(waiting := self._answer(message)):
            await waiting

    async def open(self) -> None:
        """Nothing to open."""

    async def close(self) -> None:
        """Nothing to close."""


def send(answer: Callable[[Message], object], *, rate: float = 2_000, planned: int = 200, links: int = 16) -> Recorder:
    recorder = Recorder(planned)
    scenario = Scenario("load-1", seed=1, accounts=3, conversations=100)

    async def main() -> None:
        await Dispatcher(scenario, Pacer(rate, planned), recorder, [FakeLink(answer) for _ in range(links)]).run()

    asyncio.run(main())
    return recorder


def test_a_conversations_next_message_waits_for_the_previous_acknowledgement_and_keeps_its_place() -> None:
    under_way: Counter[str] = Counter()
    seen: dict[str, list[int]] = {}
    most = 0

    async def answer(message: Message) -> None:
        nonlocal most
        under_way[message.conversation_id] += 1
        most = max(most, under_way.total())
        assert under_way[message.conversation_id] == 1
        seen.setdefault(message.conversation_id, []).append(message.metadata["ordinal"])
        for _ in range(50):
            await asyncio.sleep(0)
        under_way[message.conversation_id] -= 1

    recorder = send(answer, planned=1_000, rate=50_000)
    assert recorder.accepted_count == recorder.sent == 1_000
    assert all(ordinals == list(range(1, len(ordinals) + 1)) for ordinals in seen.values())
    assert most > 8, "different conversations go at once"


def test_latency_counts_from_the_due_time_also_for_messages_that_had_to_wait_to_be_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    now = 0.0
    monkeypatch.setattr(dispatcher, "monotonic_seconds", lambda: now)
    recorder, pacer = Recorder(100), Pacer(1_000, 100)

    async def main() -> None:
        nonlocal now
        both_stand_still, gate = asyncio.Event(), asyncio.Event()

        async def stall() -> None:
            if recorder.sent == 2:
                both_stand_still.set()
            await gate.wait()

        links = [FakeLink(lambda _: stall()) for _ in range(2)]
        scenario = Scenario("load-1", seed=1, accounts=1, conversations=100)
        sending = asyncio.create_task(Dispatcher(scenario, pacer, recorder, links).run())
        await asyncio.sleep(0)
        now = 0.1  # all are due
        await both_stand_still.wait()
        now = 20.0
        gate.set()
        await sending

    asyncio.run(main())
    # Each message took the stall, not only the two that were on their way: sent or not, it counts from when it was due.
    assert recorder.accepted_count == 100
    assert sorted(recorder.acknowledgement) == pytest.approx(sorted(20.0 - pacer.at(number) for number in range(100)))


def test_a_refused_message_is_sent_again_with_its_id_until_it_is_accepted() -> None:
    attempts: Counter[str] = Counter()

    def answer(message: Message) -> None:
        attempts[message.message_id] += 1
        if attempts[message.message_id] == 1 and message.metadata["ordinal"] == 1:
            raise NotAccepted("503", again=True)

    recorder = send(answer)
    refused = sum(1 for count in attempts.values() if count == 2)
    assert recorder.accepted_count == recorder.sent == len(attempts) == 200
    assert recorder.refusals == {"503": refused}
    assert refused > 50


def test_what_repeating_cannot_mend_is_not_repeated() -> None:
    def answer(message: Message) -> None:
        raise NotAccepted("401", again=False)

    recorder = send(answer, planned=50)
    assert (recorder.sent, recorder.accepted_count, recorder.refusals) == (50, 0, {"401": 50})


def test_a_message_that_stays_refused_is_given_up_and_its_successors_are_sent(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.25)

    def answer(message: Message) -> None:
        if message.metadata["ordinal"] == 1:
            raise NotAccepted("connection", again=True)

    recorder = send(answer)
    assert recorder.sent == 200
    assert 0 < recorder.accepted_count < 200
    assert recorder.accepted_count == sum(recorder.accepted)


@pytest.mark.parametrize(("reasons", "uncertain"), [(["429", "429"], 0), (["time-out", "429"], 50), (["429", "503"], 50)])
def test_a_message_is_uncertain_unless_every_answer_said_that_it_was_not_taken(
    monkeypatch: pytest.MonkeyPatch, reasons: list[str], uncertain: int
) -> None:
    monkeypatch.setattr(dispatcher, "BACKOFF_SECONDS_MIN", 0.001)
    attempts: Counter[str] = Counter()

    def answer(message: Message) -> None:
        reason = reasons[attempts[message.message_id]]
        attempts[message.message_id] += 1
        raise NotAccepted(reason, again=attempts[message.message_id] < len(reasons), certain=reason == "429")

    recorder = send(answer, planned=50)
    assert (recorder.sent, recorder.accepted_count, recorder.uncertain) == (50, 0, uncertain)


def test_when_the_time_is_over_what_is_under_way_is_awaited(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.1)
    gate = asyncio.Event()

    def answer(message: Message) -> object:
        if message.message_id.endswith("-00000000"):
            asyncio.get_running_loop().call_later(0.5, gate.set)
        return gate.wait()

    recorder = send(answer, links=2, planned=40)
    assert (recorder.sent, recorder.accepted_count, recorder.uncertain, recorder.unsent) == (2, 2, 0, 38)


def test_what_is_never_answered_is_uncertain(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.05)
    monkeypatch.setattr(dispatcher, "UNDER_WAY_SECONDS", 0.05)
    recorder = send(lambda _: asyncio.Event().wait(), links=3, planned=40)
    assert (recorder.sent, recorder.accepted_count, recorder.uncertain, recorder.unsent) == (3, 0, 3, 37)


def test_stopping_sends_nothing_more_and_awaits_what_is_under_way() -> None:
    recorder = Recorder(100_000)

    async def main() -> None:
        async def answer() -> None:
            if recorder.sent >= 20:
                it.stop()
            await asyncio.sleep(0)

        links = [FakeLink(lambda _: answer()) for _ in range(4)]
        it = Dispatcher(Scenario("load-1", seed=1, accounts=1, conversations=100), Pacer(1_000, 100_000), recorder, links)
        await it.run()

    asyncio.run(main())
    assert 20 <= recorder.sent <= 23
    assert recorder.accepted_count == recorder.sent


def test_when_too_many_wait_the_rest_is_left_unsent_and_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "WAITING_MAX", 30)
    recorder = Recorder(100)

    async def stall() -> None:
        """Until all have been offered: two are on their way, and 30 wait."""
        while recorder.unsent < 100 - 30 - 2:  # noqa: ASYNC110 - nothing tells of it
            await asyncio.sleep(0)

    async def main() -> None:
        links = [FakeLink(lambda _: stall()) for _ in range(2)]
        scenario = Scenario("load-1", seed=1, accounts=3, conversations=100)
        await Dispatcher(scenario, Pacer(2_000, 100), recorder, links).run()

    asyncio.run(main())
    assert (recorder.sent, recorder.unsent) == (32, 68)


def test_a_fault_in_the_generator_itself_ends_the_run(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(dispatcher, "RETRY_SECONDS", 0.1)

    def answer(message: Message) -> None:
        raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        send(answer, planned=5)
