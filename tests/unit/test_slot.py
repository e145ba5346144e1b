"""A slot's promises: order within a lane, bisection down to the message at fault, outages that count against nobody."""

from hypothesis import given
from hypothesis import strategies as st

from shared.outcome import Retry
from tasks.slot import LANE_WAIT_SECONDS_MAX, UNBURIED_SECONDS, Pending, Slot

WALL = 1_800_000_000.0


def slot(messages_max: int = 200, bytes_max: int = 10**6, attempts_max: int = 3) -> Slot:
    return Slot(messages_max=messages_max, bytes_max=bytes_max, attempts_max=attempts_max, worker="w")


def pending(name: str, lane: int = 0, kind: str = "messages", payload: bytes = b"[]") -> Pending:
    return Pending(f"{kind}.{lane:02d}", name, payload, WALL, None, limit=200)


def names(batch: list[Pending]) -> list[str]:
    return [member.token for member in batch]


def run_until_empty(slot: Slot, poison: set[str], *, lost: bool = False) -> tuple[list[str], list[str], int]:
    """Run every batch: one with poison fails, others succeed. Returns (stored, buried, batches run)."""
    stored: list[str] = []
    buried: list[str] = []
    now, runs = 0.0, 0
    while len(slot):
        batch = slot.next_batch(now)
        if not batch:
            now = max(now + 0.01, slot.wake_at(now) or 0)
            continue
        runs += 1
        if any(member.token in poison and not member.verdict for member in batch):
            slot.failed(batch, "boom", now, WALL, lost=lost)
        else:
            for member in batch:
                (buried if member.verdict else stored).append(member.token)
            slot.settled()
        assert runs < 10_000
    return stored, buried, runs


def test_an_idle_slot_takes_all_that_waits_in_its_order() -> None:
    it = slot()
    for number in range(50):
        it.add(pending(str(number), lane=number % 4))
    assert names(it.next_batch(0)) == [str(number) for number in range(50)]
    assert it.next_batch(0) == []


def test_a_batch_is_bounded_in_messages_and_in_bytes() -> None:
    it = slot(messages_max=3)
    for number in range(5):
        it.add(pending(str(number)))
    assert len(it.next_batch(0)) == 3
    small = slot(bytes_max=100)
    for number in range(3):
        small.add(pending(str(number), payload=b"x" * 60))
    assert len(small.next_batch(0)) == 1


def test_a_message_larger_than_the_bound_still_runs_alone() -> None:
    it = slot(bytes_max=10)
    it.add(pending("large", payload=b"x" * 60))
    assert names(it.next_batch(0)) == ["large"]


def test_two_kinds_take_turns() -> None:
    it = slot()
    for number in range(4):
        it.add(pending(f"m{number}"))
        it.add(pending(f"w{number}", kind="webhooks"))
    first = it.next_batch(0)
    it.add(pending("m4"))
    it.settled()
    second = it.next_batch(0)
    assert {member.kind for member in first} != {member.kind for member in second}


def test_a_poison_message_leaves_its_neighbours_stored() -> None:
    it = slot()
    for number in range(200):
        it.add(pending(str(number), lane=number % 7))
    stored, buried, runs = run_until_empty(it, {"77"})
    assert buried == ["77"]
    assert len(stored) == 199
    assert runs < 40


@given(st.integers(1, 120), st.sets(st.integers(0, 119), max_size=6), st.booleans())
def test_whatever_the_poison_each_lane_keeps_its_order_and_nothing_is_lost(size: int, bad: set[int], lost: bool) -> None:
    it = slot(messages_max=50)
    for number in range(size):
        it.add(pending(str(number), lane=number % 3))
    stored, buried, _ = run_until_empty(it, {str(number) for number in bad}, lost=lost)
    assert sorted(stored + buried, key=int) == [str(number) for number in range(size)]
    assert set(buried) == {str(number) for number in bad if number < size}
    for lane in range(3):
        of_lane = [int(name) for name in stored if int(name) % 3 == lane]
        assert of_lane == sorted(of_lane)


def test_a_message_that_kills_its_child_is_given_up_after_two_deaths_alone() -> None:
    it = slot()
    it.add(pending("a"))
    for _ in range(2):
        it.failed(it.next_batch(0), "killed", 0, WALL, lost=True)
    (member,) = it.next_batch(0)
    assert member.verdict.startswith("lost 2 times while running alone")
    assert [entry["outcome"] for entry in member.history] == ["lost", "lost"]


def test_an_outage_is_never_counted_and_the_batch_stays_whole() -> None:
    it = slot()
    for number in range(100):
        it.add(pending(str(number)))
    now = 0.0
    for _ in range(50):
        batch = it.next_batch(now)
        assert len(batch) == 100
        pause = it.outage(batch, now)
        assert 0 < pause <= 5
        assert it.next_batch(now) == []
        now += pause
    batch = it.next_batch(now)
    assert [(member.limit, member.history, member.verdict) for member in batch] == [(200, [], "")] * 100


def test_a_retry_holds_its_lane_and_no_other() -> None:
    it = slot()
    for name, lane in (("a1", 1), ("b1", 2)):
        it.add(pending(name, lane))
    batch = it.next_batch(0)
    it.settled()
    it.retried([(batch[0], Retry(2, "not yet"))], 0, WALL)
    it.add(pending("a2", 1))
    it.add(pending("b2", 2))
    assert names(it.next_batch(0)) == ["b2"]
    it.settled()
    assert it.wake_at(0) == 2
    assert names(it.next_batch(2.01)) == ["a1", "a2"]


def test_a_message_that_retries_past_the_lanes_patience_is_given_up() -> None:
    it = slot()
    it.add(pending("a", 1))
    now, batch = 0.0, it.next_batch(0)
    while not batch[0].verdict:
        it.settled()
        it.retried([(batch[0], Retry(4, "not yet"))], now, WALL)
        now = it.wake_at(now) or now
        batch = it.next_batch(now + 0.01)
        now += 0.01
    assert now <= LANE_WAIT_SECONDS_MAX
    assert "not yet" in batch[0].verdict


def test_a_retry_without_a_pause_is_given_up_all_the_same_and_does_not_spin() -> None:
    it = slot()
    it.add(pending("a", 1))
    now, runs, batch = 0.0, 0, it.next_batch(0)
    while not batch[0].verdict:
        runs += 1
        it.settled()
        it.retried([(batch[0], Retry(0, "at once"))], now, WALL)
        now = (it.wake_at(now) or now) + 0.001
        batch = it.next_batch(now)
        assert runs < 1_000
    assert now <= LANE_WAIT_SECONDS_MAX + 1
    assert "at once" in batch[0].verdict


def test_a_message_that_cannot_even_be_buried_waits_keeps_its_verdict_and_lets_the_other_lanes_go_on() -> None:
    it = slot(attempts_max=1)
    it.add(pending("a", 1))
    it.failed(it.next_batch(0), "boom", 0, WALL, lost=False)
    (member,) = it.next_batch(0)
    verdict, history = member.verdict, member.history
    assert verdict == "raised 1 times: boom"
    it.failed([member], "cannot be stored", 0, WALL, lost=False)
    it.add(pending("b", 2))
    assert names(it.next_batch(0)) == ["b"]
    it.settled()
    (member,) = it.next_batch(UNBURIED_SECONDS + 0.01)
    assert (member.verdict, member.history) == (verdict, history)
