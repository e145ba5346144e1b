"""Celery's prefork pool as the memory guard needs it: which children there are, which are idle, and how to end one.

A child is ended from the parent's event loop, which is also who writes batches to children: one that has none is first taken off
the list of those that may get one, so that no batch is ever on its way to a child that ends. Celery's own
``max_memory_per_child`` lets the child end by itself, and the parent goes on writing to it.

The names with an underscore are Celery's; tests/chaos/test_leaks.py fails when one of them changes its meaning.
"""

import os
import signal
from contextlib import suppress
from typing import Any

RETIRE_SIGNAL = signal.SIGRTMIN + 2
"""Tells an idle child to close what it has and end: `workers.memory.child`."""


class Children:
    """The children of one worker. For the event loop's thread only.

    Args:
        pool: Celery's TaskPool.
    """

    def __init__(self, pool: Any) -> None:
        self._task_pool = pool

    @property
    def pids(self) -> dict[int, int]:
        """The children's places, 0 and up, by pid; a replacement takes the place of the one before it."""
        return {process.pid: process.index for process in self._pool._pool if process.pid}

    @property
    def whole(self) -> bool:
        """All are there and have said that they are up."""
        up: int = len(self._pool._all_inqueues)
        return up >= int(self._pool._processes)

    def set_aside(self, pid: int) -> None:
        """Give a child no more batches, if it is idle; else ask again."""
        process, _ = self._pool._process_by_pid(pid)
        if process is not None and self._is_idle(process):
            self._pool._busy_workers.add(process.inqW_fd)

    def retire(self, pid: int) -> bool:
        """End a child if it is idle; whether it is."""
        process, _ = self._pool._process_by_pid(pid)
        if process is None or not self._is_idle(process):
            return False
        self._pool._busy_workers.add(process.inqW_fd)
        with suppress(ProcessLookupError):
            os.kill(pid, RETIRE_SIGNAL)
        return True

    def kill(self, pid: int) -> None:
        """SIGKILL, whatever it does; what it ran counts as lost."""
        if pid in self.pids:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)

    @property
    def _pool(self) -> Any:
        return self._task_pool._pool

    def _is_idle(self, process: Any) -> bool:
        """It is up, and no batch is with it or on its way to it. Not by the pool's list of the busy, where one set aside stands,
        and which a lost connection clears."""
        pool = self._pool
        if process.inqW_fd not in pool._all_inqueues or process.inqW_fd in pool._active_writes:
            return False
        return not any(
            process in (job._write_to, job._scheduled_for) or process.pid in job.worker_pids() for job in pool._cache.values()
        )
