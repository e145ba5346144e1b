"""What the meter makes of samples."""

from workers.autoscaler.meter import Meter, Seen
from workers.autoscaler.sample import Sample


def sample(at: float, settled: int, waiting: int = 0, in_flight: int = 0, workers: int = 1) -> Sample:
    return Sample(at, {"messages": settled}, {"messages": waiting}, in_flight, 0.0, workers)


def watched(meter: Meter, *samples: Sample) -> Seen:
    for each in samples[:-1]:
        meter.observe(each)
    seen = meter.observe(samples[-1])
    assert seen
    return seen


def test_arrivals_are_what_was_settled_and_what_the_backlog_grew_by() -> None:
    seen = watched(Meter(400), sample(0, 1_000, 10), sample(2, 1_600, 210))
    assert (seen.served, seen.arrivals) == (300, 400)


def test_what_a_worker_can_do_is_learned_only_while_all_are_busy() -> None:
    meter = Meter(400)
    assert watched(meter, *(sample(at, 50 * at) for at in range(20))).service is None
    busy = (sample(at, 950 + 300 * (at - 19), 2_000 + 700 * at) for at in range(20, 30))
    assert watched(meter, *busy).service == 300


def test_a_worker_seen_to_do_more_can_do_more() -> None:
    meter = Meter(400, service=100)
    assert watched(meter, *(sample(at, 500 * at) for at in range(10))).service == 500


def test_nothing_is_learned_just_after_a_worker_came() -> None:
    meter = Meter(400, service=300)
    before = [sample(at, 300 * at, 5_000) for at in range(10)]
    after = [sample(10 + at, 3_000 + 310 * at, 5_000, workers=4) for at in range(5)]
    assert watched(meter, *before, *after).service == 300


def test_what_was_learned_is_forgotten_after_an_hour_of_calm_where_a_worker_could_be_given_back() -> None:
    for workers, known in ((1, 300), (2, None)):
        meter = Meter(400, service=300)
        assert watched(meter, *(sample(at, 50 * at, workers=workers) for at in range(3_590))).service == 300
        assert watched(meter, *(sample(at, 50 * at, workers=workers) for at in range(3_590, 3_700))).service == known


def test_a_night_at_the_least_does_not_have_the_figure_forgotten_in_the_morning() -> None:
    meter = Meter(400, service=300)
    watched(meter, *(sample(at, 50 * at) for at in range(8 * 3_600)))
    morning = [sample(8 * 3_600 + at, 50 * 8 * 3_600 + 250 * at, workers=2) for at in range(3_000)]
    assert watched(meter, *morning).service == 300


def test_nothing_is_learned_from_a_time_in_which_nobody_looked() -> None:
    """The autoscaler's host stood still, or the broker gave no answers: then less was settled than could have been."""
    meter = Meter(400, service=300)
    before = [sample(at, 300 * at, 5_000) for at in range(10)]
    after = [sample(40 + at, 2_800 + 300 * at, 5_000) for at in range(10)]
    assert watched(meter, *before, *after).service == 300


def test_work_that_waits_beside_workers_who_do_nothing_at_all_is_a_stall() -> None:
    assert watched(Meter(400), *(sample(at, 70, 500) for at in range(6))).stalled
    assert not watched(Meter(400), *(sample(at, 70, 0) for at in range(6))).stalled
    assert not watched(Meter(400), *(sample(at, 70, 500, workers=0) for at in range(6))).stalled


def test_a_broker_that_lost_its_counters_does_not_count_backwards() -> None:
    seen = watched(Meter(400), sample(0, 10_000), sample(1, 5))
    assert (seen.served, seen.arrivals) == (0, 0)


def test_the_shares_of_the_queues_add_up() -> None:
    first = Sample(0, {}, {"messages": 0, "webhooks": 0}, 0, 0.0, 1)
    seen = watched(Meter(400), first, Sample(1, {"messages": 30, "webhooks": 10}, {"messages": 0, "webhooks": 0}, 0, 0.0, 1))
    assert seen.shares == {"messages": 0.75, "webhooks": 0.25}
    assert sum(watched(Meter(400), first, first._replace(at=1)).shares.values()) == 1
