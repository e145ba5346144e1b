"""The breaker: when it lets calls through, and what each answer makes of it."""

import threading

import pytest

from shared.breaker import Breaker, State

OPEN_SECONDS = 5.0


class Clock:
    def __init__(self) -> None:
        self.now = 100.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


def breaker(clock: Clock, failures: int = 1) -> Breaker:
    return Breaker("test", failures=failures, open_seconds=OPEN_SECONDS, clock=clock)


def test_it_opens_after_failures_in_a_row_and_a_success_begins_the_count_anew(clock: Clock) -> None:
    it = breaker(clock, failures=3)
    for reported in (it.failed, it.failed, it.succeeded, it.failed, it.failed):
        assert it.allows()
        reported()
    assert it.state is State.CLOSED
    it.failed()
    assert it.state is State.OPEN
    assert not it.allows()


def test_an_open_one_lets_one_probe_through_after_its_pause(clock: Clock) -> None:
    it = breaker(clock)
    it.failed()
    clock.now += OPEN_SECONDS - 0.01
    assert not it.allows()
    clock.now += 0.01
    assert [it.allows() for _ in range(10)] == [True] + [False] * 9
    assert it.state is State.HALF_OPEN
    it.succeeded()
    assert it.state is State.CLOSED
    assert it.allows()


def test_a_probe_that_fails_begins_the_next_pause(clock: Clock) -> None:
    it = breaker(clock)
    it.failed()
    clock.now += OPEN_SECONDS
    assert it.allows()
    it.failed()
    assert it.state is State.OPEN
    clock.now += OPEN_SECONDS - 0.01
    assert not it.allows()


def test_a_probe_that_never_comes_back_is_followed_by_another(clock: Clock) -> None:
    it = breaker(clock)
    it.failed()
    clock.now += OPEN_SECONDS
    assert it.allows()
    clock.now += OPEN_SECONDS
    assert it.allows()


def test_of_many_threads_one_is_the_probe(clock: Clock) -> None:
    it = breaker(clock)
    it.failed()
    clock.now += OPEN_SECONDS
    answers: list[bool] = []
    start = threading.Barrier(8)

    def ask() -> None:
        start.wait(10)
        answers.append(it.allows())

    threads = [threading.Thread(target=ask) for _ in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert sorted(answers) == [False] * 7 + [True]


@pytest.mark.parametrize(("failures", "seconds"), [(0, 1.0), (1, 0.0)])
def test_one_that_could_never_open_or_close_is_refused(failures: int, seconds: float) -> None:
    with pytest.raises(ValueError, match="opens after 1 failure"):
        Breaker("test", failures=failures, open_seconds=seconds)
