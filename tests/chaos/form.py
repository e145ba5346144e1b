"""How much is injected: the short form, inside ``make test``, or the long one, ``make chaos``."""

import os

import pytest

ROUNDS = int(os.environ.get("HEADRACE_CHAOS_ROUNDS", "1"))
LONG = ROUNDS > 1
long_form = pytest.mark.skipif(not LONG, reason="in the long form, `make chaos`; the storm of every fault has a little of it")


def sized(short: int, long: int) -> int:
    """A number that differs between the forms."""
    return long if LONG else short
