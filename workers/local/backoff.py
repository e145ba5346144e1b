"""How long a program that died waits before it runs again: a pure function of how often and how soon it died."""

FIRST_SECONDS = 0.5
LONGEST_SECONDS = 10.0
"""A program that cannot run costs one start in ten seconds; one that can again is back within ten."""

STEADY_SECONDS = 30.0
"""Having lived this long, a death is a new trouble and not the same one again."""


def deaths_in_a_row(before: int, lived_seconds: float) -> int:
    """The count after one more death, ``before`` being the count until then."""
    return 1 if lived_seconds >= STEADY_SECONDS else before + 1


def delay_seconds(deaths: int) -> float:
    """How long to wait after ``deaths``, 1 or more, in a row: doubling from FIRST_SECONDS to LONGEST_SECONDS."""
    return min(LONGEST_SECONDS, FIRST_SECONDS * 2.0 ** min(deaths - 1, 16))
