"""One fetch a key in a process: who comes while another thread fetches a key waits for that one's answer."""

import threading
from collections.abc import Iterable
from concurrent.futures import Future

from shared.cache.entry import Entry

Flight = Future[Entry]


class Flights:
    """The fetches under way."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._flying: dict[str, Flight] = {}

    def board(self, keys: Iterable[str]) -> tuple[dict[str, Flight], dict[str, Flight]]:
        """The keys that are the caller's to fetch, and those whose answers come from others."""
        mine: dict[str, Flight] = {}
        others: dict[str, Flight] = {}
        with self._lock:
            for key in keys:
                if key in self._flying:
                    others[key] = self._flying[key]
                else:
                    mine[key] = self._flying[key] = Future()
        return mine, others

    def land(self, mine: dict[str, Flight], entries: dict[str, Entry]) -> None:
        """The answers to ``mine``."""
        self._leave(mine)
        for key, flight in mine.items():
            flight.set_result(entries[key])

    def crash(self, mine: dict[str, Flight], error: BaseException) -> None:
        """There is no answer, for this reason."""
        self._leave(mine)
        for flight in mine.values():
            flight.set_exception(error)

    def detach(self, key: str) -> None:
        """The key has changed: who comes from now on must not get what was read before."""
        with self._lock:
            self._flying.pop(key, None)

    def detach_all(self) -> None:
        """The same for all keys."""
        with self._lock:
            self._flying.clear()

    def _leave(self, mine: dict[str, Flight]) -> None:
        with self._lock:
            for key, flight in mine.items():
                if self._flying.get(key) is flight:
                    del self._flying[key]
