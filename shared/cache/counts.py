"""What a cache counts: plain integers where it is hot, handed to Prometheus once a second.

An increment of a Prometheus counter costs more than the look-up it counts.
"""

from shared.cache.memory import Memory
from shared.metrics import CACHE_BYTES, CACHE_ENTRIES, CACHE_EVICTIONS, CACHE_INVALIDATIONS, CACHE_REQUESTS


class Counts:
    """The counts of one cache in one process. Incremented without a lock: of two threads at once one may be lost.

    Args:
        name: the kind's.
        memories: what its copies are in.
    """

    __slots__ = (
        *("_counters", "_flushed", "_memories", "_name"),
        *("l1_hits", "l1_misses", "l2_hits", "l2_misses", "loaded", "failed", "stale", "invalidated"),
    )

    def __init__(self, name: str, memories: tuple[Memory, ...]) -> None:
        self._name = name
        self._memories = memories
        self.l1_hits = self.l1_misses = self.l2_hits = self.l2_misses = 0
        self.loaded = self.failed = self.stale = self.invalidated = 0
        self._counters = {
            "l1_hits": CACHE_REQUESTS.labels(name, "l1", "hit"),
            "l1_misses": CACHE_REQUESTS.labels(name, "l1", "miss"),
            "l2_hits": CACHE_REQUESTS.labels(name, "l2", "hit"),
            "l2_misses": CACHE_REQUESTS.labels(name, "l2", "miss"),
            "loaded": CACHE_REQUESTS.labels(name, "source", "loaded"),
            "failed": CACHE_REQUESTS.labels(name, "source", "failed"),
            "stale": CACHE_REQUESTS.labels(name, "source", "stale"),
            "invalidated": CACHE_INVALIDATIONS.labels(name),
            "evictions": CACHE_EVICTIONS.labels(name),
        }
        self._flushed = dict.fromkeys(self._counters, 0)

    @property
    def evictions(self) -> int:
        """Entries that made room."""
        return sum(memory.evictions for memory in self._memories)

    def flush(self) -> None:
        """Hand what was counted since the last time to Prometheus."""
        for name, counter in self._counters.items():
            count: int = getattr(self, name)
            if more := count - self._flushed[name]:
                counter.inc(more)
                self._flushed[name] = count
        CACHE_ENTRIES.labels(self._name).set(sum(len(memory) for memory in self._memories))
        CACHE_BYTES.labels(self._name).set(sum(memory.bytes for memory in self._memories))
