"""How long to wait before trying again: functions of the attempt."""

import random


def backoff_seconds(attempt: int, *, first: float, most: float) -> float:
    """Doubling pauses: ``first``, twice that, and so on, ``most`` at the most; ``attempt`` counts from 1."""
    return min(most, first * 2.0 ** min(attempt - 1, 30))


def jittered(seconds: float) -> float:
    """Any time up to ``seconds`` (full jitter): who failed together does not try again together."""
    return random.uniform(0, seconds)  # noqa: S311 - not a secret
