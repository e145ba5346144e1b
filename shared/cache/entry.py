"""A value in a process's memory, and the pure questions about it: is it fresh, should it be refreshed early, may it serve stale.

Early refresh is XFetch (Vattani, Chierichetti, Lowenstein: Optimal Probabilistic Cache Stampede Prevention, VLDB 2015): a reader
at time t reloads when ``t - delta * beta * ln(random) >= expiry``, where delta is how long the last load took. The nearer the end
and the dearer the load, the likelier; so one reader reloads a value while it still serves all others.
"""

import math
from random import random
from typing import Any

DRAWS = 20.0
"""Sooner than this many ``delta * beta`` before its end a value is refreshed early once in e^20 reads: nobody needs to draw."""


class Entry:
    """A value, or that there is none (``value`` is None). Times are monotonic seconds of the process.

    Args:
        value: shared by all who ask for it, so it must not be changed.
        fresh_until: when its freshness ends, by the source's time, whatever a process's copy may do.
        local_until: when this process asks Redis again.
        stale_until: until when it serves while the source fails.
        load_seconds: how long loading took.
        size: encoded bytes.
        tags: what invalidates it besides its key.
        generation: of the process's copies; an older one has missed messages.
        beta: XFetch's.
    """

    __slots__ = ("calm_until", "fresh_until", "generation", "load_seconds", "local_until", "size", "stale_until", "tags", "value")

    def __init__(
        self,
        value: Any,
        *,
        fresh_until: float,
        local_until: float,
        stale_until: float,
        load_seconds: float,
        size: int,
        tags: tuple[str, ...],
        generation: int,
        beta: float,
    ) -> None:
        self.value = value
        self.fresh_until = fresh_until
        self.local_until = local_until
        self.stale_until = stale_until
        self.load_seconds = load_seconds
        self.size = size
        self.tags = tags
        self.generation = generation
        self.calm_until = min(local_until, fresh_until - DRAWS * load_seconds * beta)
        """Until here it serves without a further question."""

    def is_fresh(self, now: float) -> bool:
        """Whether it serves without asking Redis."""
        return now < self.local_until

    def wants_refresh(self, now: float, beta: float) -> bool:
        """XFetch's draw."""
        if now < self.calm_until or not beta:
            return False
        return now - self.load_seconds * beta * math.log(1.0 - random()) >= self.fresh_until  # noqa: S311 - spreads load


def freshness(seconds: float, jitter: float) -> float:
    """``seconds`` less a random part of at most ``jitter`` of it."""
    return seconds * (1.0 - jitter * random())  # noqa: S311 - spreads load
