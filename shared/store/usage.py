"""What is used most, by the hour: counted in the cache's Redis, for warming.

Only reads that went beyond a process's own copies count; a hot key is one of them every few seconds in every process, which is
enough to tell hot from cold and costs the hot path nothing. Counts are kept in the process and written once a second.
"""

import threading
from collections import Counter
from collections.abc import Iterable
from typing import Any

from shared.cache import keys as names
from shared.cache.client import Client
from shared.cache.redis import Remote

HOUR_US = 3600 * 1_000_000
KEYS_MAX = 5_000
"""Of a kind and hour, the most used; a megabyte or so."""
PENDING_MAX = 2_000
"""Keys counted between two writes; more than that in a second is a flood, of which nobody wants to be warmed."""
KEPT_SECONDS = 4 * 3600
HOURS = 3
"""Looked back on."""
DECAY = 0.5
"""What an hour counts less than the next one."""


class Usage:
    """Thread-safe; one a process.

    Args:
        remote: the cache's Redis.
    """

    def __init__(self, remote: Remote) -> None:
        self._remote = remote
        self._lock = threading.Lock()
        self._pending: dict[str, Counter[str]] = {}

    def count(self, kind_name: str, keys: Iterable[str]) -> None:
        """One more use of each of ``keys``."""
        with self._lock:
            counter = self._pending.setdefault(kind_name, Counter())
            if len(counter) < PENDING_MAX:
                counter.update(keys)

    def flush(self) -> None:
        """Write what was counted. What Redis does not take is forgotten: it is statistics."""
        with self._lock:
            pending, self._pending = self._pending, {}
        now = self._remote.now_us()
        if not pending or now is None:
            return

        def write(client: Client) -> None:
            pipeline = client.pipeline(transaction=False)
            for kind_name, counter in pending.items():
                name = names.usage(kind_name, now // HOUR_US)
                for key, count in counter.items():
                    pipeline.zincrby(name, count, key)
                pipeline.zremrangebyrank(name, 0, -KEYS_MAX - 1)
                pipeline.expire(name, KEPT_SECONDS)
            pipeline.execute()

        self._remote.run("usage", write)


def top(remote: Remote, kind_name: str, count: int) -> list[str]:
    """The ``count`` keys of a kind that the last hours used most, the most used first; empty when Redis does not say."""

    def ask(client: Client) -> Counter[str]:
        now: Any = client.time()
        seconds = int((next(iter(now.values())) if isinstance(now, dict) else now)[0])
        uses: Counter[str] = Counter()
        for age in range(HOURS):
            found: Any = client.zrevrange(names.usage(kind_name, seconds // 3600 - age), 0, count - 1, withscores=True)
            for key, score, *_ in found:
                uses[key.decode()] += score * DECAY**age
        return uses

    uses = remote.run("usage", ask)
    return [key for key, _ in uses.most_common(count)] if uses else []
