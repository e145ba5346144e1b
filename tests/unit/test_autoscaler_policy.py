"""The policy's decisions, one by one and over an hour of simulated load."""

import itertools
import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.autoscaler.meter import Seen
from workers.autoscaler.policy import Bounds, Decision, decide, need
from workers.autoscaler.simulator import Model, Second, recovery, simulate, turns
from workers.autoscaler.tuning import TUNING

BOUNDS = Bounds(1, 8)
HOUR = 3600


def seen(
    at: float = 0.0,
    arrivals: float = 0.0,
    backlog: int = 0,
    service: float | None = 300.0,
    *,
    busy: bool = False,
    stalled: bool = False,
) -> Seen:
    return Seen(at, arrivals, arrivals, backlog, 0.0, 1, service, busy, stalled, {"messages": 1.0})


def poisson(dice: random.Random, mean: float) -> int:
    return max(0, round(dice.gauss(mean, math.sqrt(mean))))


def test_it_grows_at_once_by_as_many_as_the_load_and_the_backlog_need() -> None:
    decision = decide(Decision(1), seen(arrivals=1_000, backlog=6_000), BOUNDS)
    assert decision.target == math.ceil(1_000 / (300 * 0.8) + 6_000 / (300 * 20)) == 6


def test_it_shrinks_by_one_only_after_fewer_have_sufficed_for_a_while_and_then_step_by_step() -> None:
    decision, changes = Decision(6), []
    for second in range(400):
        after = decide(decision, seen(at=second, arrivals=50), BOUNDS)
        if after.target != decision.target:
            changes.append((second, after.target))
        decision = after
    assert changes == [(120, 5), (150, 4), (180, 3), (210, 2), (240, 1)]


def test_a_single_busy_second_begins_the_wait_anew() -> None:
    decision = Decision(2)
    for second in range(230):
        arrivals = 400 if second == 110 else 50
        decision = decide(decision, seen(at=second, arrivals=arrivals), BOUNDS)
        assert decision.target == 2
    assert decide(decision, seen(at=111 + 120, arrivals=50), BOUNDS).target == 1


def test_each_step_down_that_is_undone_at_once_doubles_the_wait_for_the_next() -> None:
    """A load that the figure says one worker can do, and that one worker cannot: its backlog grows."""
    decision, down = Decision(2), []
    for second in range(2_000):
        grows = decision.target == 1 and second - decision.shrunk_at > 10
        after = decide(decision, seen(at=second, arrivals=200, backlog=2_000 if grows else 0), BOUNDS)
        if after.target < decision.target:
            down.append(second)
        decision = after
    undone_after = 11
    assert [later - earlier for earlier, later in itertools.pairwise(down)] == [undone_after + wait for wait in (240, 480, 960)]


def test_a_long_calm_ends_the_doubled_wait() -> None:
    after_a_failure = Decision(2, grown_at=0, shrunk_at=-5, known_since=0, patience=4)
    soon = decide(after_a_failure, seen(at=479, arrivals=50), BOUNDS)
    assert (soon.target, soon.reason) == (2, "fewer did not suffice lately")
    for at, patience in ((480, 4), (960, 1)):
        later = decide(soon, seen(at=at, arrivals=50), BOUNDS)
        assert (later.target, later.patience) == (1, patience)


def test_while_nothing_at_all_is_done_more_workers_are_no_help() -> None:
    assert decide(Decision(2), seen(arrivals=1_000, backlog=50_000, stalled=True), BOUNDS).target == 2


def test_while_nothing_is_known_of_busy_workers_nothing_is_changed() -> None:
    decision = Decision(2)
    for second in range(300):
        decision = decide(decision, seen(second, arrivals=1_000, backlog=50_000, service=None, busy=True), BOUNDS)
    assert decision.target == 2


def test_while_nothing_is_known_of_workers_that_are_not_busy_they_are_given_back_one_by_one() -> None:
    """As after the autoscaler was started anew beside a fleet that it had grown."""
    decision, changes = Decision(3), []
    for second in range(300):
        after = decide(decision, seen(second, arrivals=50, service=None), BOUNDS)
        if after.target != decision.target:
            changes.append((second, after.target))
        decision = after
    assert changes == [(120, 2), (150, 1)]


def test_memory_bounds_the_growth_and_when_it_is_short_workers_go_one_by_one_down_to_the_least() -> None:
    assert decide(Decision(1), seen(arrivals=1_000, backlog=6_000), Bounds(1, 8, room=2)).target == 3
    decision = Decision(4)
    for second in range(300):
        decision = decide(decision, seen(at=second, arrivals=1_000, backlog=6_000), Bounds(2, 8, room=-1))
    assert decision.target == 2


def test_bounds_that_were_changed_hold_at_once() -> None:
    assert decide(Decision(6), seen(), Bounds(1, 3)).target == 3
    assert decide(Decision(1), seen(), Bounds(2, 3)).target == 2


def test_a_step_from_50_to_1000_a_second_is_caught_up_within_a_minute_and_given_back_within_ten() -> None:
    arrivals = [50] * 60 + [1_000] * 300 + [50] * 900
    run = simulate(arrivals, Model(service=300), BOUNDS)
    caught_up = recovery(run[:360], lambda second: second.lag_seconds < 2, 60)
    assert caught_up is not None
    assert caught_up <= 60
    floor = recovery(run, lambda second: second.target == BOUNDS.least, 360)
    assert floor is not None
    assert floor <= 600
    assert turns(run) == 1


def test_what_was_needed_on_the_way_down_does_not_make_it_wait_twice() -> None:
    run = simulate([1_000] * 300 + [50] * 400, Model(service=300), BOUNDS)
    floor = recovery(run, lambda second: second.target == BOUNDS.least, 300)
    assert floor is not None
    assert floor <= TUNING.stable_seconds + 6 * TUNING.step_seconds


@pytest.mark.parametrize("mean", [40, 230, 290, 500, 720, 1_000, 1_700])
def test_an_hour_of_noise_makes_it_flap_nowhere(mean: int) -> None:
    """Also just where one worker more is needed, and where the least and the most are."""
    dice = random.Random(mean)
    run = simulate([poisson(dice, mean) for _ in range(HOUR)], Model(service=300), BOUNDS)
    assert turns(run[120:]) <= 2
    assert max(second.lag_seconds for second in run[120:]) <= 5


def test_an_hour_of_bursts_makes_it_turn_a_few_times_and_never_oscillate() -> None:
    """Each minute 5 s of four times the load, the kind of noise that a threshold on the rate would follow."""
    dice = random.Random(7)
    arrivals = [poisson(dice, 200 * (4 if second % 60 < 5 else 1)) for second in range(HOUR)]
    assert turns(simulate(arrivals, Model(service=300), BOUNDS)[120:]) <= 4


loads = st.lists(st.tuples(st.integers(1, 120), st.integers(0, 5_000)), min_size=1, max_size=12)  # how long, how many a second


@settings(deadline=None)
@given(
    parts=loads,
    service=st.floats(5, 2_000),
    least=st.integers(1, 4),
    more=st.integers(0, 12),
    start=st.integers(1, 60),
)
def test_whatever_comes_the_target_stays_within_its_bounds(
    parts: list[tuple[int, int]], service: float, least: int, more: int, start: int
) -> None:
    arrivals = [rate for seconds, rate in parts for _ in range(seconds)]
    run = simulate(arrivals, Model(service, start), Bounds(least, least + more))
    assert all(least <= second.target <= least + more for second in run)


@settings(deadline=None)
@given(parts=loads, seed=st.integers(0, 99))
def test_it_never_turns_more_often_than_its_times_allow(parts: list[tuple[int, int]], seed: int) -> None:
    """Down takes two quiet minutes; so in T seconds there are at most 1 + 2 T / 120 turns, whatever the load."""
    dice = random.Random(seed)
    arrivals = [poisson(dice, rate) for seconds, rate in parts for _ in range(seconds)]
    run = simulate(arrivals, Model(service=300), BOUNDS)
    assert turns(run) <= 1 + 2 * len(arrivals) / TUNING.stable_seconds


@settings(deadline=None)
@given(rate=st.integers(1, 1_900), before=st.integers(1, 1_900), seed=st.integers(0, 99))
def test_where_the_most_can_do_the_work_the_lag_is_bounded(rate: int, before: int, seed: int) -> None:
    dice = random.Random(seed)
    arrivals = [poisson(dice, before)] * 200 + [poisson(dice, rate) for _ in range(400)]
    run = simulate(arrivals, Model(service=300), BOUNDS)
    settled: list[Second] = run[200 + 120 :]
    assert max(second.lag_seconds for second in settled) <= 3


@settings(deadline=None)
@given(
    arrivals=st.floats(0, 10_000),
    backlog=st.integers(0, 10**6),
    service=st.floats(1, 5_000),
    extra=st.floats(1, 1_000),
)
def test_more_load_never_asks_for_fewer_workers(arrivals: float, backlog: int, service: float, extra: float) -> None:
    less = need(seen(arrivals=arrivals, backlog=backlog, service=service), TUNING)
    more = need(seen(arrivals=arrivals + extra, backlog=backlog, service=service), TUNING)
    assert less is not None
    assert more is not None
    assert more >= less >= 1
