"""The schedule is exact: no drift, no message early, none forgotten."""

from math import nextafter

from hypothesis import given
from hypothesis import strategies as st

from loadgen.pacer import DURATION_SECONDS_MAX, RATE_MAX, Pacer

RATES = st.floats(1, RATE_MAX)


@given(rate=RATES, number=st.integers(0, 10_000_000))
def test_a_message_is_due_at_its_due_time_and_its_successor_is_not(rate: float, number: int) -> None:
    pacer = Pacer(rate, number + 2)
    assert pacer.due(pacer.at(number)) == number + 1
    assert number == 0 or pacer.due(nextafter(pacer.at(number), 0)) == number, "not a moment early"


@given(rate=RATES, elapsed=st.floats(0, DURATION_SECONDS_MAX))
def test_what_is_due_is_exactly_what_stands_before_now_in_the_schedule(rate: float, elapsed: float) -> None:
    pacer = Pacer(rate, 10**10)
    due = pacer.due(elapsed)
    assert pacer.at(due - 1) <= elapsed < pacer.at(due)


def test_the_schedule_does_not_drift_in_a_day() -> None:
    assert Pacer(1 / 3 + 600, 10**9).at(51_868_800) == 86_400


def test_nothing_is_due_before_the_start_and_no_more_than_planned_after_the_end() -> None:
    pacer = Pacer(600, 100)
    assert pacer.due(-0.001) == 0
    assert pacer.due(0) == 1
    assert pacer.due(3600) == 100
