"""Repeats in a log are rate-limited: an outage that every batch meets is a few lines and a number, not a full disk.

A line of level WARNING or above is known by its logger and its event, without its fields. Of each, `BURST` lines pass in
`WINDOW_SECONDS`; the next window's first one says how many did not. Lines of INFO pass: there is one a batch, and each says
something else.
"""

import logging
from collections.abc import Callable
from typing import NamedTuple

from shared.clock import monotonic_seconds

BURST = 5
"""Enough to see whether the fields differ."""
WINDOW_SECONDS = 10.0
"""A line about an outage every 2 s on average."""
EVENTS_MAX = 1_000
"""Different events counted at once; a program has far fewer, a library that writes values into its events may not."""


class Window(NamedTuple):
    """Of one event: since when, how many lines came."""

    started_at: float
    lines: int


class Repeats:
    """Decides. Time is passed in, monotonic seconds."""

    def __init__(self, burst: int = BURST, window_seconds: float = WINDOW_SECONDS) -> None:
        self._burst = burst
        self._window_seconds = window_seconds
        self._windows: dict[tuple[str, str], Window] = {}

    def admit(self, event: tuple[str, str], now: float) -> int | None:
        """None for a line that is one too many; else how many of its kind were dropped before it."""
        window = self._windows.get(event)
        if window is None or now - window.started_at >= self._window_seconds:
            if len(self._windows) >= EVENTS_MAX:
                self._windows.clear()
            self._windows[event] = Window(now, 1)
            return max(0, window.lines - self._burst) if window else 0
        self._windows[event] = window._replace(lines=window.lines + 1)
        return 0 if window.lines < self._burst else None


class RepeatsFilter(logging.Filter):
    """Puts `Repeats` into a handler; for structlog's lines and the standard library's alike."""

    def __init__(self, clock: Callable[[], float] = monotonic_seconds) -> None:
        super().__init__()
        self._repeats = Repeats()
        self._clock = clock

    def filter(self, record: logging.LogRecord) -> bool:
        """Whether the line is written."""
        if record.levelno < logging.WARNING:
            return True
        fields = record.msg if isinstance(record.msg, dict) else None
        event = fields.get("event", "") if fields else record.msg
        dropped = self._repeats.admit((record.name, str(event)), self._clock())
        if dropped and fields:
            fields["repeats_dropped"] = dropped
        elif dropped:
            record.msg = f"{record.msg} [{dropped} like it dropped]"
        return dropped is not None
