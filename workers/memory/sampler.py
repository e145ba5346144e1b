"""Measures a worker's processes in a thread, so that the event loop never waits for the kernel to walk page tables.

Five times a second it looks at what costs microseconds: how full the container is, and each process's resident pages. The
proportional size, which takes a millisecond, it asks for when the resident size has moved, and else every few seconds.

The thread holds no lock that a forked child could want: it reads files with bare system calls and leaves its last reading in an
attribute. Whatever takes a lock, such as metrics and logs, is done by the event loop, which also forks.
"""

from math import inf
from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from shared.clock import monotonic_seconds
from workers.memory.container import Container, Level, limited, nearest
from workers.memory.pss import pss_bytes, resident_bytes

SAMPLE_SECONDS = 0.2
"""A child that leaks 100 MB/s grows by 20 MB between two looks. A look takes 0.1 ms while nothing moves."""
MOVED_BYTES = 2 << 20
"""So much more or less resident memory is worth a new proportional size."""
ANEW_SECONDS = 5.0
"""The proportional size also moves when a process that shares pages comes or goes; and a container's limit can be changed."""


class Reading(NamedTuple):
    """One look.

    Args:
        at: monotonic seconds.
        pss: bytes by pid; who is not in it was gone, or is new.
        container: None without a limit.
    """

    at: float
    pss: dict[int, int]
    container: Container | None


class Measured(NamedTuple):
    """A process when its proportional size was asked for: then, and in bytes."""

    at: float
    resident: int
    pss: int


class Sampler:
    """Runs from `start` to `stop`.

    Args:
        cgroup_dir: where the cgroup file system is mounted.
    """

    def __init__(self, cgroup_dir: Path) -> None:
        self.latest: Reading | None = None
        self.pids: tuple[int, ...] = ()
        """Whom to measure; replaced as a whole."""
        self._cgroup_dir = cgroup_dir
        self._known: dict[int, Measured] = {}
        self._levels: list[Level] = []
        self._levels_at = -inf
        self._enough = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, unless it runs."""
        if self._thread is None:
            self._enough = Event()
            self._thread = Thread(target=self._run, args=(self._enough,), name="memory-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._enough.set()
        self._thread = None

    def sample(self) -> None:
        """One look, now."""
        now = monotonic_seconds()
        found = {pid: measured for pid in self.pids if (measured := self._measure(pid, now)) is not None}
        self._known = found
        if now - self._levels_at >= ANEW_SECONDS:
            self._levels, self._levels_at = limited(self._cgroup_dir), now
        sizes = {pid: measured.pss for pid, measured in found.items()}
        self.latest = Reading(now, sizes, nearest(self._levels))

    def _measure(self, pid: int, now: float) -> Measured | None:
        resident, known = resident_bytes(pid), self._known.get(pid)
        if resident is None:
            return None
        if known and now - known.at < ANEW_SECONDS and abs(resident - known.resident) < MOVED_BYTES:
            return known
        pss = pss_bytes(pid)
        return None if pss is None else Measured(now, resident, pss)

    def _run(self, enough: Event) -> None:
        while not enough.wait(SAMPLE_SECONDS):
            self.sample()
