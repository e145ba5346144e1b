"""Can this process do its work? Asks the broker and the database, each in a thread, one question at a time.

However often the question comes, a dependency that hangs holds one thread, and the answer comes within `WAIT_SECONDS_MAX`.
"""

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from sqlalchemy import text

from shared.db.session import read_session

WAIT_SECONDS_MAX = 2.0
"""A probe of a load balancer or Kubernetes gives up after a second or more; by then the answer is known to be no."""


class Readiness:
    """Lives on one event loop. ``ping_broker`` raises unless the broker answers."""

    def __init__(self, ping_broker: Callable[[], None]) -> None:
        self._questions = {"broker": ping_broker, "database": _select_one}
        self._threads = ThreadPoolExecutor(len(self._questions), thread_name_prefix="readiness")
        self._asking: dict[str, asyncio.Future[None]] = {}

    async def missing(self) -> list[str]:
        """The names of the dependencies that do not answer; empty when all is well."""
        asked = {name: self._ask(name) for name in self._questions}
        await asyncio.wait(asked.values(), timeout=WAIT_SECONDS_MAX)
        return [name for name, answer in asked.items() if not answer.done() or answer.exception() is not None]

    def close(self) -> None:
        """End the threads, without waiting for one that hangs."""
        self._threads.shutdown(wait=False, cancel_futures=True)

    def _ask(self, name: str) -> asyncio.Future[None]:
        asking = self._asking.get(name)
        if asking is None or asking.done():
            asking = asyncio.get_running_loop().run_in_executor(self._threads, self._questions[name])
            self._asking[name] = asking
        return asking


def _select_one() -> None:
    with read_session(fresh=True) as session:
        session.execute(text("SELECT 1"))
