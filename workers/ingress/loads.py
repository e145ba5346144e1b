"""Loads in threads: one a key at a time, a bounded number waiting, and nobody waits long."""

import asyncio
from collections.abc import Callable, Hashable
from concurrent.futures import ThreadPoolExecutor
from typing import Generic, TypeVar

from shared.errors import HeadraceError
from shared.log import get_logger

log = get_logger(__name__)

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")

WAIT_SECONDS_MAX = 2.0
"""How long a request waits for a load; the load itself ends with the database's own time-outs."""

LOADS_MAX = 500
"""Loads waiting or running. At 1 ms a load the last of them waits half a second."""


class LookupUnavailable(HeadraceError):
    """The database does not say in time. The edge serves what it remembers or answers 503."""


class Loads(Generic[K, V]):
    """Lives on one event loop.

    Args:
        name: for logs and threads.
        load: blocking; the value of a key or None; raises when the database fails.
        threads: loads at a time, each with a connection.
    """

    def __init__(self, name: str, load: Callable[[K], V | None], *, threads: int) -> None:
        self._name = name
        self._load = load
        self._threads = ThreadPoolExecutor(threads, thread_name_prefix=name)
        self._loading: dict[K, asyncio.Task[V | None]] = {}
        self._down = False

    async def get(self, key: K) -> V | None:
        """The value of ``key``, or None when there is none. Raises LookupUnavailable."""
        loading = self._loading.get(key) or self._start(key)
        await asyncio.wait((loading,), timeout=WAIT_SECONDS_MAX)
        if not loading.done():
            raise LookupUnavailable("the database is slow")
        if loading.exception() is not None:
            raise LookupUnavailable("the database does not answer")
        return loading.result()

    def close(self) -> None:
        """End the threads, without waiting for a database that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _start(self, key: K) -> asyncio.Task[V | None]:
        if len(self._loading) >= LOADS_MAX:
            raise LookupUnavailable(f"{LOADS_MAX} look-ups wait for the database")
        task = asyncio.create_task(self._run(key))
        task.add_done_callback(lambda done: done.cancelled() or done.exception())  # every waiter may have given up
        self._loading[key] = task
        return task

    async def _run(self, key: K) -> V | None:
        try:
            value = await asyncio.get_running_loop().run_in_executor(self._threads, self._load, key)
        except Exception as error:
            self._failed(error)
            raise
        finally:
            del self._loading[key]
        if self._down:
            log.info("database answers again", lookup=self._name)
        self._down = False
        return value

    def _failed(self, error: Exception) -> None:
        if not self._down:
            log.warning("database does not answer", lookup=self._name, reason=type(error).__name__)
        self._down = True
