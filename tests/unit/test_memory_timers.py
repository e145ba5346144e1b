"""Cancelled timers leave the event loop at once; the others come when they are due."""

from kombu.asynchronous.timer import Timer

from workers.memory.timers import drop_cancelled


def test_cancelled_timers_are_dropped_and_the_others_keep_their_order() -> None:
    timer = Timer()
    entries = [timer.call_after(60 + number % 7, print, (number,)) for number in range(100)]
    for number, entry in enumerate(entries):
        if number % 10:
            entry.cancel()
    drop_cancelled(timer)
    left = timer.queue
    assert len(left) == 10
    assert [each.eta for each in left] == sorted(each.eta for each in left)
    assert timer._queue[0] == left[0], "still a heap"


def test_a_timer_that_drops_others_as_it_fires_comes_again() -> None:
    timer, fired = Timer(), []

    def fire() -> None:
        fired.append(1)
        drop_cancelled(timer)

    timer.call_repeatedly(0.0001, fire)
    timer.call_after(60, print).cancel()
    scheduler = iter(timer)
    while len(fired) < 3:
        _, entry = next(scheduler)
        if entry:
            timer.apply_entry(entry)
    assert len(timer.queue) == 1
