"""No figure of what a worker can do is for ever: a bad lesson keeps no worker that nobody needs and costs none that is needed."""

import math
import random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.autoscaler.policy import Bounds
from workers.autoscaler.simulator import Model, recovery, simulate, turns
from workers.autoscaler.trust import TRUST_SECONDS_MAX, Trust
from workers.autoscaler.tuning import TUNING

HOUR = 3600
SOON = TUNING._replace(trust_seconds=600)
"""Doubts begin sooner than they are shipped, so that an hour of simulated time sees two of them."""

SETTLED_SECONDS = 600 + 120 + 7 * 30 + 90
"""The first doubt is over: the figure's trust, the wait for the first step down, the further ones, and the way back up."""

SEEN_OVERLOAD = 1.05
"""Of less than this a backlog grows so slowly that it is seen only after minutes, as a lag that is still bounded."""

LEAST_BELIEVED, MOST_BELIEVED = 1 / 50, 50
"""Of the true figure."""


def believed_for(trust: Trust, figure: float, start: int = 0) -> int:
    """Seconds of calm from a lesson at ``start`` until it is forgotten."""
    trust.ends(start, figure)
    trust.taught()
    at = start + 5
    while not trust.ends(at, figure):
        at += 5
    trust.forget()
    return at - start


def test_a_figure_that_proves_right_is_doubted_after_twice_the_time_and_once_a_day_at_least() -> None:
    trust, at, spans = Trust(TUNING), 0, []
    for _ in range(7):
        spans.append(believed_for(trust, 300, at))
        at += spans[-1]
    assert spans == [HOUR, 2 * HOUR, 4 * HOUR, 8 * HOUR, 16 * HOUR, TRUST_SECONDS_MAX, TRUST_SECONDS_MAX]


def test_a_figure_far_below_what_was_believed_is_doubted_as_soon_as_fewer_would_be_let_go() -> None:
    assert believed_for(Trust(TUNING, figure=300), 140) == TUNING.stable_seconds


def test_a_better_figure_than_the_doubted_one_is_believed_for_no_longer_than_any_other() -> None:
    trust = Trust(TUNING, figure=300)
    assert believed_for(trust, 60) == TUNING.stable_seconds
    assert believed_for(trust, 300, 1_000) == HOUR


def test_a_low_figure_that_is_taught_again_was_no_stall_and_is_believed_for_an_hour() -> None:
    trust = Trust(TUNING, figure=300)
    assert believed_for(trust, 60) == TUNING.stable_seconds
    assert believed_for(trust, 55, 1_000) == HOUR


def test_noise_in_the_lessons_neither_shortens_nor_lengthens_the_trust() -> None:
    trust, dice = Trust(TUNING, figure=300), random.Random(3)
    for at in range(0, 1_000, 5):
        trust.taught()
        assert not trust.ends(at, dice.uniform(220, 400))
    assert believed_for(trust, 300, 1_000) == HOUR


def test_time_in_which_nobody_looked_or_all_were_busy_is_none_of_calm() -> None:
    trust = Trust(TUNING, figure=300)
    assert not trust.ends(0, 300)
    assert not trust.ends(100 * HOUR, 300)


@pytest.mark.parametrize("stall", [range(300, 330), range(400, 460)])
def test_a_stall_under_light_load_after_a_step_keeps_no_worker_for_longer_than_ten_minutes(stall: range) -> None:
    arrivals = [50] * 60 + [1_000] * 90 + [50] * 1_000
    run = simulate(arrivals, Model(300, batch=10), Bounds(1, 6), pace=lambda at: 0.03 if at in stall else 1)
    assert max(second.target for second in run[stall.stop :]) > 1, "the stall had more workers started than the load needs"
    floor = recovery(run, lambda second: second.target == 1, stall.stop)
    assert floor is not None
    assert floor <= 600


def test_a_stall_as_the_first_lesson_keeps_workers_for_little_more_than_an_hour() -> None:
    run = simulate([50] * 2 * HOUR, Model(300, batch=10), Bounds(1, 6), pace=lambda at: 0.03 if 30 <= at < 60 else 1)
    assert max(second.target for second in run) == 6
    floor = recovery(run, lambda second: second.target == 1, 60)
    assert floor is not None
    assert floor <= TUNING.trust_seconds + TUNING.stable_seconds + 5 * TUNING.step_seconds


@pytest.mark.parametrize("mean", [720, 1_700])
def test_putting_a_right_figure_to_the_test_costs_two_turns_each_time_and_little_lag(mean: int) -> None:
    """In eight hours of noise it is doubted after one, after two more, and after four more."""
    dice = random.Random(mean)
    arrivals = [max(0, round(dice.gauss(mean, math.sqrt(mean)))) for _ in range(8 * HOUR)]
    run = simulate(arrivals, Model(300), Bounds(1, 8))[120:]
    assert 0 < turns(run) <= 2 * 3
    assert turns(run[: HOUR - 120]) <= 2
    assert max(second.lag_seconds for second in run) <= 5


def enough(rate: int, service: float, share: float, bounds: Bounds) -> int:
    """Workers that take ``rate`` at ``share`` of what they can do."""
    return min(max(bounds.least, math.ceil(rate / (service * share) - 1e-9)), bounds.most)


@settings(max_examples=60, deadline=None)
@given(
    service=st.floats(20, 1_000),
    believed=st.floats(math.log(LEAST_BELIEVED), math.log(MOST_BELIEVED)).map(math.exp),
    load=st.floats(0, 0.95),
    light=st.booleans(),
    bounds=st.builds(lambda least, more: Bounds(least, least + more), st.integers(1, 3), st.integers(1, 7)),
)
def test_whatever_was_believed_a_constant_load_gets_the_workers_that_the_truth_asks_for(
    service: float, believed: float, load: float, light: bool, bounds: Bounds
) -> None:
    """``load``: of what the most can do, or, when light, of what the least can do.

    At the end no more workers are wanted than take the load at 80 % of what they can do, and no fewer than can take it.
    """
    rate = round(load * service * (bounds.least if light else bounds.most))
    model = Model(service, batch=round(service))  # batches of a second
    run = simulate([rate] * HOUR, model, bounds, SOON, known=service * believed)
    settled = run[SETTLED_SECONDS:]
    wanted = [second.target for second in settled]
    asked = enough(rate, service, TUNING.utilisation, bounds)
    assert max(wanted) <= asked + 1
    assert enough(rate, service, SEEN_OVERLOAD, bounds) <= wanted[-1] <= asked
    assert max(second.lag_seconds for second in settled) <= 6
    assert turns(run) <= 8
