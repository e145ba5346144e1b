"""How long a dead program waits: decided without a clock."""

import pytest

from workers.local.backoff import LONGEST_SECONDS, STEADY_SECONDS, deaths_in_a_row, delay_seconds


@pytest.mark.parametrize(("deaths", "seconds"), [(1, 0.5), (2, 1), (3, 2), (4, 4), (5, 8), (6, 10), (1000, 10)])
def test_the_wait_doubles_from_half_a_second_to_ten(deaths: int, seconds: float) -> None:
    assert delay_seconds(deaths) == seconds


def test_the_wait_is_never_longer_than_its_bound() -> None:
    assert max(delay_seconds(deaths) for deaths in range(1, 5000)) == LONGEST_SECONDS


def test_a_program_that_had_lived_long_enough_starts_counting_anew() -> None:
    assert deaths_in_a_row(7, STEADY_SECONDS) == 1
    assert deaths_in_a_row(7, STEADY_SECONDS - 0.1) == 8
    assert deaths_in_a_row(0, 0) == 1
