"""The bound follows the time that the fleet needs: lower while it is slow, never lower because it is out."""

from hypothesis import given
from hypothesis import strategies as st

from workers.ingress.bound import DRAIN_SECONDS, MEASURE_SECONDS, MESSAGES_MIN, Bound

MESSAGES_MAX = 2000
LOOK = 0.1


class Fleet:
    """Looks at it pass in `run`, ten a second."""

    def __init__(self) -> None:
        self.bound = Bound(MESSAGES_MAX)
        self.now = 1000.0

    def run(self, seconds: float, rate: float, waiting: int) -> int:
        for _ in range(round(seconds / LOOK)):
            self.now += LOOK
            self.bound.observe(round(rate * LOOK), waiting, self.now)
        return self.bound.messages


def test_while_the_fleet_keeps_up_the_bound_is_the_settings() -> None:
    assert Fleet().run(10, rate=5000, waiting=2000) == MESSAGES_MAX


def test_a_slow_fleet_lowers_the_bound_to_what_it_settles_in_half_a_second() -> None:
    fleet = Fleet()
    assert abs(fleet.run(5, rate=1000, waiting=2000) - 1000 * DRAIN_SECONDS) <= 1
    assert fleet.run(5, rate=10, waiting=2000) == MESSAGES_MIN


def test_a_fleet_that_keeps_up_again_gets_its_bound_back_within_seconds() -> None:
    fleet = Fleet()
    fleet.run(5, rate=10, waiting=2000)
    assert fleet.run(5, rate=1000, waiting=100) == MESSAGES_MAX


def test_a_bound_that_just_works_is_kept() -> None:
    fleet = Fleet()
    fleet.run(5, rate=2000, waiting=2000)
    lowered = fleet.bound.messages
    assert lowered < MESSAGES_MAX
    assert fleet.run(5, rate=2000, waiting=lowered - 100) == lowered


def test_a_burst_into_an_idle_fleet_is_not_taken_for_slowness() -> None:
    fleet = Fleet()
    fleet.run(5, rate=100, waiting=5)
    fleet.run(MEASURE_SECONDS, rate=100, waiting=2000)
    fleet.run(MEASURE_SECONDS, rate=4000, waiting=0)
    assert fleet.bound.messages == MESSAGES_MAX


def test_a_fleet_that_is_out_keeps_its_bound() -> None:
    fleet = Fleet()
    assert fleet.run(60, rate=0, waiting=100_000) == MESSAGES_MAX


def test_a_pause_without_looks_says_nothing() -> None:
    fleet = Fleet()
    for _ in range(20):
        fleet.now += 60
        fleet.bound.observe(50, 2000, fleet.now)
    assert fleet.bound.messages == MESSAGES_MAX


@given(
    st.integers(100, 100_000),
    st.lists(st.tuples(st.integers(0, 10_000), st.integers(0, 100_000), st.floats(0, 10)), max_size=60),
)
def test_the_bound_stays_within_its_limits(most: int, looks: list[tuple[int, int, float]]) -> None:
    bound, now = Bound(most), 0.0
    for settled, waiting, pause in looks:
        now += pause
        bound.observe(settled, waiting, now)
        assert min(MESSAGES_MIN, most) <= bound.messages <= most
