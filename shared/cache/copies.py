"""A process's copies of one kind, and what keeps them true: a change drops them, a gap in the messages makes all of them
doubtful.

What exists and what is known not to exist are kept apart, so that made-up keys push out none that exist.

A value that was read before a change must not be kept after it, and the message of the change comes on another thread. So whoever
fetches takes a `mark` of the key first, and `put` keeps the value only when no change has come since.
"""

import threading

from shared.cache.entry import Entry
from shared.cache.flights import Flights
from shared.cache.kind import Kind
from shared.cache.memory import Memory

STRIPES = 1024
"""Marks; keys that share one cost each other a needless fetch now and then."""


class Copies:
    """Thread-safe.

    Args:
        kind: whose.
    """

    def __init__(self, kind: Kind) -> None:
        self.found = Memory(kind.entries_max, kind.bytes_max)
        self.absent = Memory(kind.entries_max, kind.bytes_max)
        self.flights = Flights()
        self.generation = 0
        """Of copies that missed no message; one of an older generation is asked for anew, and serves only while that fails."""
        self._marks = [0] * STRIPES
        self._changes = 0
        self._lock = threading.Lock()

    def get(self, key: str) -> Entry | None:
        """The copy, however old."""
        return self.found.get(key) or self.absent.get(key)

    def mark(self, key: str) -> int:
        """To be taken before a fetch, for `put`."""
        return self._marks[hash(key) % STRIPES] + self._changes

    def put(self, key: str, entry: Entry, mark: int) -> None:
        """Keep ``entry`` unless the key has changed since ``mark``."""
        with self._lock:
            if mark != self.mark(key):
                return
            here, there = (self.absent, self.found) if entry.value is None else (self.found, self.absent)
            here.put(key, entry)
            there.drop(key)

    def drop(self, key: str) -> None:
        """The key has changed."""
        with self._lock:
            self._marks[hash(key) % STRIPES] += 1
            self.found.drop(key)
            self.absent.drop(key)
        self.flights.detach(key)

    def drop_tagged(self, tag: str) -> int:
        """Whatever has the tag has changed; returns how many copies there were."""
        with self._lock:
            self._changes += 1
            dropped = self.found.drop_tagged(tag)
        self.flights.detach_all()
        return dropped

    def clear(self) -> None:
        """All has changed."""
        with self._lock:
            self._changes += 1
            self.found.clear()
            self.absent.clear()
        self.flights.detach_all()

    def doubt(self) -> None:
        """Messages may have been missed."""
        with self._lock:
            self._changes += 1
            self.generation += 1
        self.flights.detach_all()
