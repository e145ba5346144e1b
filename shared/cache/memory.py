"""L1: a process's own copies, the least recently used out first, bounded by entries and by encoded bytes.

LRU and not W-TinyLFU by measurement on our own traffic (docs/performance.md). A look-up is cachebox's own, in Rust, under its own
lock; ours is only about writing.
"""

import threading
from collections.abc import Callable

from cachebox import LRUCache

from shared.cache.entry import Entry

OVERHEAD_BYTES = 400
"""What an entry costs beside its encoded bytes: the Entry, the key, the value's objects, the cache's nodes."""


class Memory:
    """Thread-safe.

    Args:
        entries_max: entries, 1 or more.
        bytes_max: their bytes, OVERHEAD_BYTES each included.
    """

    def __init__(self, entries_max: int, bytes_max: int) -> None:
        self._entries: LRUCache[str, Entry] = LRUCache(bytes_max, getsizeof=lambda _key, entry: entry.size + OVERHEAD_BYTES)
        self._entries_max = entries_max
        self._bytes_max = bytes_max
        self._lock = threading.Lock()
        self.get: Callable[[str], Entry | None] = self._entries.get
        """The entry of a key, which becomes the youngest; or None. An attribute, for a method would cost as much again."""
        self.evictions = 0

    def contains(self, key: str) -> bool:
        """Whether it is here; it becomes no younger."""
        return key in self._entries

    def __len__(self) -> int:
        return len(self._entries)

    @property
    def bytes(self) -> int:
        """What all entries take."""
        return int(self._entries.current_size())

    def put(self, key: str, entry: Entry) -> None:
        """Keep it; what is too large for the whole is not kept."""
        with self._lock:
            if entry.size + OVERHEAD_BYTES > self._bytes_max:
                self._entries.pop(key, None)
                return
            before = len(self._entries) + (key not in self._entries)
            self._entries[key] = entry
            if len(self._entries) > self._entries_max:
                self._entries.popitem()
            self.evictions += before - len(self._entries)

    def drop(self, key: str) -> None:
        """Forget it, if it is here."""
        self._entries.pop(key, None)

    def drop_tagged(self, tag: str) -> int:
        """Forget what has the tag; returns how many. Looks at every entry: some milliseconds for 10,000 of them."""
        with self._lock:
            # Of a copy, which is made at once: a look-up on another thread moves what it finds, and a walk would miss some.
            tagged = [key for key, entry in self._entries.copy().items() if tag in entry.tags]
            for key in tagged:
                self._entries.pop(key, None)
        return len(tagged)

    def clear(self) -> None:
        """Forget all."""
        self._entries.clear()
