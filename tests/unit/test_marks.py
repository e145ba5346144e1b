"""Marks: how long the oldest message of a list has waited, when it does not say so itself."""

from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st

from workers.exporter.marks import MARK_BYTES_MAX, MARKS_MAX, Marks

LOOK_SECONDS = 5.0


class OneList:
    """A list as Redis has it: the newest at index 0."""

    def __init__(self) -> None:
        self.items: list[tuple[bytes, float]] = []
        self.pushed = 0

    def push(self, count: int, now: float, size: int = 0) -> None:
        for _ in range(count):
            self.pushed += 1
            self.items.insert(0, (b"%d" % self.pushed + b"x" * size, now))

    def pop(self, count: int) -> None:
        del self.items[max(0, len(self.items) - count) :]

    def lindex(self, _name: str, _index: int) -> bytes | None:
        return self.items[0][0] if self.items else None

    def lpos(self, _name: str, payload: bytes, rank: int) -> int | None:
        assert rank == -1
        return next((place for place, item in enumerate(self.items) if item[0] == payload), None)


def ages(marks: Marks, it: OneList, now: float) -> float:
    lists = ["messages"] if it.items else []
    broker: Any = it
    return marks.ages(broker, lists, now).get("messages", 0.0)


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 6)), max_size=60))
@settings(max_examples=50, deadline=None)
def test_the_age_is_never_more_than_the_truth_and_less_by_at_most_one_look(steps: list[tuple[int, int]]) -> None:
    marks, it, now = Marks(), OneList(), 100.0
    for pushes, pops in steps:
        it.push(pushes, now)
        now += LOOK_SECONDS
        it.pop(pops)
        said = ages(marks, it, now)
        truth = now - it.items[-1][1] if it.items else 0.0
        assert truth - LOOK_SECONDS <= said <= truth


def test_a_list_that_stands_still_is_known_however_long_with_few_marks() -> None:
    marks, it = Marks(), OneList()
    it.push(1, 0.0)
    for look in range(10 * MARKS_MAX):
        it.push(1, look * LOOK_SECONDS)
        assert ages(marks, it, look * LOOK_SECONDS) == look * LOOK_SECONDS
    assert len(marks._marks["messages"]) <= MARKS_MAX


def test_a_large_message_is_no_mark_and_an_emptied_list_is_forgotten() -> None:
    marks, it = Marks(), OneList()
    it.push(1, 0.0, size=MARK_BYTES_MAX)
    assert ages(marks, it, 10.0) == 0
    it.push(1, 10.0)
    assert ages(marks, it, 20.0) == 0
    assert ages(marks, it, 30.0) == 10
    it.pop(2)
    assert ages(marks, it, 40.0) == 0
    assert marks._marks == {}
