"""The leak detector: SIGUSR2 to a process of a worker begins a measurement, the next one ends it.

While it lasts, each allocation's place is remembered (tracemalloc: the process is two to three times slower and holds more
memory). What grew in its second half, more or less, is written to ``profiles/`` in the data directory, mode 0600, as JSON:
lines, types and counts, never a message. Nothing is paid for while nobody measures. `headrace worker-profile` does both signals.
"""

import os
import signal
import tempfile
import tracemalloc
from _thread import start_new_thread  # `threading`'s takes locks that the interrupted code may hold
from pathlib import Path
from threading import Event
from typing import Any, NamedTuple

import msgspec
from celery import signals

from shared.clock import monotonic_seconds
from shared.settings import settings
from workers.memory import growth
from workers.memory.growth import Line, Type
from workers.memory.pss import pss_bytes

SIGNAL = signal.SIGUSR2
WARM_SECONDS = 2.0
"""Until the first look: what is always in flight is in the others, too, and does not look like growth."""
LONGEST_SECONDS = 600.0
"""A measurement that nobody ends, ends."""
DIRECTORY = "profiles"


class Report(msgspec.Struct, frozen=True):
    """One measurement. Bytes; ``traced`` is what was allocated since it began and lives."""

    pid: int
    seconds: float
    pss_bytes_before: int
    pss_bytes_after: int
    traced_bytes_before: int
    traced_bytes_after: int
    lines: list[Line]
    types: list[Type]


class Look(NamedTuple):
    """One moment of a measurement: monotonic seconds, bytes, and what there was."""

    at: float
    pss: int
    picture: growth.Picture


class Profiler:
    """Of this process."""

    def __init__(self) -> None:
        self._enough: Event | None = None

    def toggle(self, *_: Any) -> None:
        """Begin, or end. A signal's handler."""
        if self._enough is not None:
            self._enough.set()
        else:
            self._enough = enough = Event()
            start_new_thread(self._measure, (enough,))

    def forget(self) -> None:
        """In a child, after the fork: a measurement of the parent's goes on there alone."""
        tracemalloc.stop()
        self._enough = None

    def _measure(self, enough: Event) -> None:
        pid = os.getpid()
        tracemalloc.start(growth.FRAMES)
        try:
            before, after = self._look(enough, pid)
        finally:
            tracemalloc.stop()
            self._enough = None  # whoever sees the report may begin another
        report = Report(
            pid,
            round(after.at - before.at, 1),
            before.pss,
            after.pss,
            before.picture.traced_bytes,
            after.picture.traced_bytes,
            growth.growing_lines(before.picture, after.picture, (__file__, growth.__file__)),
            growth.growing_types(before.picture, after.picture),
        )
        write(report)

    @staticmethod
    def _look(enough: Event, pid: int) -> tuple[Look, Look]:
        """Look after 2, 4, 8 s and so on; at the end, which nobody knows before, the last but one is nearest to the middle."""
        earlier = latest = None
        pause, began = WARM_SECONDS, monotonic_seconds()
        while not enough.wait(pause) and (so_far := monotonic_seconds() - began) < LONGEST_SECONDS:
            earlier, latest = latest, Look(monotonic_seconds(), pss_bytes(pid) or 0, growth.picture())
            pause = min(so_far, LONGEST_SECONDS - so_far)
        last = Look(monotonic_seconds(), pss_bytes(pid) or 0, growth.picture())
        return earlier or latest or last, last


def report_file(data_dir: Path, pid: int) -> Path:
    """Where the report of a process is, or will be."""
    return data_dir / DIRECTORY / f"worker-profile-{pid}.json"


def write(report: Report) -> Path:
    """Keep the report where only its owner reads it: in the data directory, or else in a new temporary one. As a whole: who sees
    the file sees all of it."""
    file = report_file(settings().data_dir, report.pid)
    try:
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    except OSError:
        file = Path(tempfile.mkdtemp(prefix="headrace-profile-")) / file.name
    draft = file.with_suffix(".new")
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(msgspec.json.format(msgspec.json.encode(report)))
    draft.replace(file)
    return file


PROFILER = Profiler()


@signals.worker_init.connect
def _listen(**_: Any) -> None:
    """Before the fork, so that no child ever takes the signal's default, which is death."""
    signal.signal(SIGNAL, PROFILER.toggle)


@signals.worker_process_init.connect
def _begin_child(**_: Any) -> None:
    PROFILER.forget()
    signal.signal(SIGNAL, PROFILER.toggle)
