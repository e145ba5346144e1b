"""For how long a figure is believed of what a worker can do, when nothing teaches it anew. Pure.

Such a figure is learned only while all workers are busy. What a stall taught (a dependency hung, the host was short of CPU) is
too low; it asks for workers that are then never busy, and so nothing would ever correct it. Therefore no figure is for ever: it
is forgotten after an hour of calm with more than the least workers, or after ``stable_seconds`` of it when it is far below what
was believed before. While nothing is known a calm fleet gives workers back one by one, until it is at its least, or until it is
busy, which teaches the true figure within seconds. When that is no better than what was forgotten, the doubt was needless, and
the next comes after twice the time.
"""

import math

from workers.autoscaler.tuning import Tuning

TRUST_SECONDS_MAX = 86_400.0
"""A right figure is put to the test once a day at least: handlers and databases do become faster."""

FAR = 2.0
"""A figure that changed by this factor is another one: noise, a cold cache and a mix of kinds stay below."""

LOOK_SECONDS_MAX = 5.0
"""A longer time between two looks in calm was not one of calm."""


class Trust:
    """Of one figure after another.

    Args:
        tuning: its ``trust_seconds``, and its ``stable_seconds`` for a suspect figure.
        figure: messages a second, when it is known beforehand.
    """

    def __init__(self, tuning: Tuning, figure: float | None = None) -> None:
        self._suspect_seconds = min(tuning.stable_seconds, tuning.trust_seconds)
        self._trust_seconds = tuning.trust_seconds
        self._seconds = tuning.trust_seconds
        self._believed = figure
        self._calm_seconds = 0.0
        self._looked_at = -math.inf
        self._unjudged = False
        self._forgotten = False

    def taught(self) -> None:
        """The fleet was busy and taught something."""
        self._calm_seconds, self._unjudged = 0.0, True

    def ends(self, at: float, figure: float) -> bool:
        """A look in calm, while more than the least workers run: is ``figure``, that all lessons came to, to be forgotten now?"""
        if self._unjudged:
            self._judge(figure)
        self._calm_seconds += min(at - self._looked_at, LOOK_SECONDS_MAX)
        self._looked_at = at
        return self._calm_seconds >= self._seconds

    def forget(self) -> None:
        """It is forgotten; what is learned next tells whether that was needless."""
        self._forgotten = True

    def _judge(self, figure: float) -> None:
        before = self._believed or figure
        if figure * FAR < before:
            self._seconds = self._suspect_seconds
        elif figure > before * FAR:
            self._seconds = self._trust_seconds
        elif self._forgotten:
            self._seconds = max(self._trust_seconds, min(2 * self._seconds, TRUST_SECONDS_MAX))
        self._believed, self._unjudged, self._forgotten = figure, False, False
