"""Measures a worker's processes in a thread, so that the event loop never waits for the kernel to walk page tables.

The thread holds no lock that a forked child could want: it reads files with bare system calls and leaves its last reading in an
attribute. Whatever takes a lock, such as metrics and logs, is done by the event loop, which also forks.
"""

from pathlib import Path
from threading import Event, Thread
from typing import NamedTuple

from shared.clock import monotonic_seconds
from workers.memory.container import Container, nearest
from workers.memory.pss import pss_bytes

SAMPLE_SECONDS = 1.0
"""A child that leaks 50 MB/s is seen well below its limits; three processes of 60 MB cost some 4 ms."""


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
        self._enough = Event()
        self._thread: Thread | None = None

    def start(self) -> None:
        """Begin, unless it runs."""
        if self._thread is None:
            self._enough.clear()
            self._thread = Thread(target=self._run, name="memory-sampler", daemon=True)
            self._thread.start()

    def stop(self) -> None:
        """End it."""
        self._enough.set()
        self._thread = None

    def sample(self) -> None:
        """One look, now."""
        measured = {pid: size for pid in self.pids if (size := pss_bytes(pid)) is not None}
        self.latest = Reading(monotonic_seconds(), measured, nearest(self._cgroup_dir))

    def _run(self) -> None:
        while not self._enough.wait(SAMPLE_SECONDS):
            self.sample()
