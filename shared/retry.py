"""How long to wait before trying again: pure functions of the attempt."""


def backoff_seconds(attempt: int, *, first: float, most: float) -> float:
    """Doubling pauses: ``first``, twice that, and so on, ``most`` at the most; ``attempt`` counts from 1."""
    return min(most, first * 2.0 ** min(attempt - 1, 30))
