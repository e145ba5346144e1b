"""The stream is determined by its seed, valid, and shaped like life."""

from collections import Counter

import pytest

from loadgen.scenario import ORDINAL, TEXT_BYTES_MAX, TEXT_BYTES_MIN, Scenario, conversations_for
from shared.clock import utc_now
from shared.message import validated


def scenario(run: str = "load-1", *, seed: int = 1, accounts: int = 10, conversations: int = 1200) -> Scenario:
    return Scenario(run, seed=seed, accounts=accounts, conversations=conversations)


def test_the_same_seed_gives_the_same_messages_and_another_seed_others() -> None:
    now = utc_now()

    def texts(seed: int) -> list[tuple[str, str, str]]:
        its = scenario(seed=seed)
        messages = [its.message(utterance, now) for utterance in its.stream(500)]
        return [(message.message_id, message.conversation_id, message.text) for message in messages]

    assert texts(7) == texts(7)
    assert texts(7) != texts(8)


def test_two_runs_of_one_seed_share_no_message_id() -> None:
    ids = [{its.message(u, utc_now()).message_id for u in its.stream(100)} for its in (scenario("load-1"), scenario("load-2"))]
    assert len(ids[0]) == len(ids[1]) == 100
    assert not ids[0] & ids[1]


def test_every_message_keeps_the_contract_and_its_text_is_50_to_400_bytes() -> None:
    its = scenario()
    messages = [validated(its.message(utterance, utc_now())) for utterance in its.stream(5_000)]
    sizes = [len(message.text.encode()) for message in messages]
    assert min(sizes) >= TEXT_BYTES_MIN
    assert max(sizes) <= TEXT_BYTES_MAX
    assert 80 < sum(sizes) / len(sizes) < 200


def test_ordinals_count_from_1_within_each_conversation() -> None:
    its = scenario()
    seen: Counter[int] = Counter()
    for utterance in its.stream(5_000):
        seen[utterance.conversation] += 1
        assert utterance.ordinal == seen[utterance.conversation]
        assert its.message(utterance, utc_now()).metadata == {ORDINAL: utterance.ordinal}


@pytest.mark.parametrize("rate", [600, 20_000])
def test_the_hottest_conversation_stands_out_yet_gets_about_10_messages_a_second_at_any_rate(rate: int) -> None:
    seconds = 3
    its = scenario(conversations=conversations_for(rate))
    counts = Counter(utterance.conversation for utterance in its.stream(rate * seconds)).most_common()
    assert 5 < counts[0][1] / seconds < 16
    assert counts[0][1] > 5 * counts[len(counts) // 2][1]


def test_every_account_gets_messages() -> None:
    its = scenario()
    assert {its.account_of(utterance) for utterance in its.stream(1_000)} == set(range(10))


def test_a_messages_number_is_found_again_in_its_id_and_in_a_body_and_not_in_another_runs() -> None:
    its = scenario("load-1")
    assert its.number_of("load-1-00000042") == 42
    assert its.number_of('{"data": {"message_id": "load-1-00000042"}}') == 42
    assert its.number_of("load-2-00000042") is None
