"""When a consumer claims, and what from."""

import pytest

from shared.broker.fetch import PAUSE_LOW_SECONDS, PAUSE_SECONDS, Fetch
from shared.broker.keys import lists_of


class Credit:
    """A window of ten messages."""

    def __init__(self) -> None:
        self.window = self.credit = 10
        self.sizes: dict[str, int] = {}

    def can_consume(self) -> bool:
        """As kombu asks it."""
        return self.credit > 0


@pytest.fixture
def credit() -> Credit:
    return Credit()


@pytest.fixture
def fetch(credit: Credit) -> Fetch:
    fetch = Fetch(credit, bytes_max=100)
    fetch.share(["messages", "messages.00", "messages.01", "work"], frozenset(["messages", "messages.01"]))
    return fetch


def lists(fetch: Fetch, now: float = 100.0) -> list[str]:
    return [str(argument) for argument in fetch.claim("me", now).arguments[3::2]]


def test_an_idle_consumer_claims_at_once_and_one_claim_at_a_time(fetch: Fetch) -> None:
    assert fetch.pause(100.0) == 0
    fetch.claim("me", 100.0)
    assert fetch.pause(200.0) is None
    fetch.answered(0)
    assert fetch.pause(200.0) is None, "nothing says that there is more"
    fetch.look = True
    assert fetch.pause(200.0) == 0


@pytest.mark.parametrize(("free", "pause"), [(10, PAUSE_SECONDS), (5, PAUSE_SECONDS), (4, PAUSE_LOW_SECONDS)])
def test_messages_that_trickle_in_are_taken_a_few_at_a_time(fetch: Fetch, credit: Credit, free: int, pause: float) -> None:
    fetch.claim("me", 100.0)
    fetch.answered(1)
    credit.credit = free
    assert fetch.pause(100.0) == pytest.approx(pause)
    assert fetch.pause(100.0 + pause) == 0


def test_after_a_full_claim_the_next_is_due_at_once(fetch: Fetch, credit: Credit) -> None:
    fetch.claim("me", 100.0)
    fetch.answered(10)
    assert fetch.pause(100.0) == 0


def test_nothing_is_claimed_without_credit_in_messages_or_bytes(fetch: Fetch, credit: Credit) -> None:
    credit.sizes = {"large": 100}
    assert fetch.pause(100.0) is None
    credit.sizes, credit.credit = {}, 0
    assert fetch.pause(100.0) is None


def test_only_own_lanes_are_claimed_from_and_all_take_turns_at_being_first(fetch: Fetch) -> None:
    lists(fetch)
    plain = [lists(fetch) for _ in range(3)]
    assert {one[0] for one in plain} == {"messages", "messages.01", "work"}
    assert all(set(one) == {"messages", "messages.01", *lists_of("work")} for one in plain)


def test_lists_of_lesser_priority_are_looked_at_now_and_then(fetch: Fetch) -> None:
    assert set(lists(fetch)) >= {*lists_of("messages"), *lists_of("messages.01")}
    assert "messages\x06\x163" not in lists(fetch)
    fetch.everywhere = True
    assert "messages\x06\x163" in lists(fetch)


def test_a_full_list_is_watched_messages_first(fetch: Fetch) -> None:
    assert fetch.watched() == "messages"
    fetch.share(["messages", "work", "messages.01"], frozenset(["messages.01"]))
    assert fetch.watched() == "work"
    fetch.share(["messages.01"], frozenset(["messages.01"]))
    assert fetch.watched() is None
