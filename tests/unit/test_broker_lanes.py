"""Who claims from which lane."""

from hypothesis import given
from hypothesis import strategies as st

from shared.broker.lanes import assigned, is_single_active
from shared.topology import lane_queues

LANES = frozenset(["messages", *lane_queues("messages", 32), *lane_queues("webhooks", 32)])


@given(st.sets(st.text("abc012:-", min_size=1), min_size=1, max_size=40))
def test_every_lane_has_one_owner_and_the_spread_is_even(consumers: set[str]) -> None:
    members = dict.fromkeys(consumers, LANES) | {"replies-only": frozenset()}
    owned = {consumer: assigned(consumer, members) for consumer in members}
    assert sorted(queue for queues in owned.values() for queue in queues) == sorted(LANES)
    shares = [len([queue for queue in owned[consumer] if queue.startswith("messages.")]) for consumer in consumers]
    assert max(shares) - min(shares) <= 1
    assert owned["replies-only"] == frozenset()


def test_a_lane_goes_only_to_a_consumer_that_reads_it() -> None:
    members = {"a": LANES, "b": LANES - {"messages.01", "messages.03"}}
    assert {"messages.01", "messages.03"} <= assigned("a", members)
    assert assigned("a", members) | assigned("b", members) == LANES


def test_a_consumer_that_is_no_member_owns_nothing() -> None:
    assert assigned("gone", {"a": LANES}) == frozenset()


def test_lanes_are_told_by_their_names() -> None:
    assert all(map(is_single_active, LANES))
    assert not any(map(is_single_active, ("maintenance", "replies", "messages.x", "mymessages.01", "messages.01\x06\x163")))
