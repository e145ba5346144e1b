"""Percentiles are exact, each a value that occurred."""

import math

from loadgen.recorder import Recorder, latency_of


def test_percentiles_are_by_nearest_rank() -> None:
    assert latency_of([number / 1000 for number in range(100, 0, -1)]) == (50, 95, 99, 100)
    assert latency_of([0.007]) == (7, 7, 7, 7)


def test_no_sample_gives_no_number() -> None:
    assert all(math.isnan(value) for value in latency_of([]))


def test_only_what_was_acknowledged_is_accepted() -> None:
    recorder = Recorder(3)
    recorder.acknowledged(1, 0.5)
    assert (list(recorder.accepted), recorder.accepted_count) == ([0, 1, 0], 1)
