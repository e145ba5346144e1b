"""The process's caches: made on first use, after any fork, one of each kind; closed at its end.

A forked child must not share its parent's connection and has not its thread: `drop_inherited_tiers` forgets both.
"""

import logging
import threading
from collections.abc import Callable, Iterable, Sequence
from typing import Any, TypeVar

from shared.cache import keys, kind
from shared.cache.change import Change
from shared.cache.kind import Kind
from shared.cache.listener import Listener
from shared.cache.redis import Remote
from shared.cache.status import forget_all
from shared.cache.tiered import Cache
from shared.settings import Settings, settings
from shared.store.usage import Usage

V = TypeVar("V")

# The standard library's logger: a command line, which does not configure ours, shows a warning on stderr.
log = logging.getLogger(__name__)

_tiers: "Tiers | None" = None
_making = threading.Lock()


class Tiers:
    """The caches of one process, and what tells them of changes.

    Args:
        remote: Redis; None without one: then the process's copies are all there is.
    """

    def __init__(self, remote: Remote | None) -> None:
        self.remote = remote
        self.usage = Usage(remote) if remote else None
        self.caches: dict[str, Cache[Any]] = {}
        self._listener: Listener | None = None
        self._lock = threading.Lock()

    @classmethod
    def of(cls, config: Settings) -> "Tiers":
        """As the settings say. Raises ConfigurationError for a URL that is none."""
        if not config.cache_url:
            return cls(None)
        return cls(Remote(config.cache_url, master=config.cache_master, timeout=config.cache_timeout_ms / 1000))

    def cache(self, kind: Kind, type: type[V], *, tags: Callable[[V], Iterable[str]] = lambda _value: ()) -> Cache[V]:
        """The cache of ``kind``, made on the first call; from then on this process hears of changes."""
        with self._lock:
            if kind.name not in self.caches:
                self.caches[kind.name] = Cache(kind, type, self.remote, usage=self.usage, tags=tags)
            if self._listener is None and self.remote is not None:
                self._listener = Listener(self.remote, self.hear, self.doubt, self.flush)
            return self.caches[kind.name]

    @property
    def listening(self) -> bool:
        """Whether this process is told of changes just now."""
        return self._listener is not None and self._listener.listening.is_set()

    def tell(self, changes: Sequence[Change]) -> bool:
        """Make ``changes`` known here and everywhere; whether Redis took all of them. What it did not take ends by its time."""
        told = True
        for change in changes:
            if self.remote is not None:
                if change.everything:
                    told &= forget_all(self.remote, change.kind)
                told &= self.remote.invalidate(self._names(change), change)
            self.hear(change)  # after Redis: a copy made of it meanwhile goes too, so who told of a change reads it
        if not told:
            log.warning("the cache was not told of a change; the old value may serve until its time is over")
        return told

    def hear(self, change: Change) -> None:
        """Apply a change to this process's copies."""
        for name, cache in list(self.caches.items()):
            if change.kind in ("", name):
                cache.counts.invalidated += 1
                if change.everything:
                    cache.copies.clear()
                for key in change.keys:
                    cache.copies.drop(key)
            for tag in change.tags:
                cache.copies.drop_tagged(tag)

    def doubt(self) -> None:
        """Changes may have been missed."""
        for cache in list(self.caches.values()):
            cache.copies.doubt()

    def flush(self) -> None:
        """Hand over what was counted."""
        for cache in list(self.caches.values()):
            cache.counts.flush()
        if self.usage:
            self.usage.flush()

    def close(self) -> None:
        """End the thread, close the connections, hand over the last counts."""
        if self._listener is not None:
            self._listener.close()
        self.flush()
        if self.remote is not None:
            self.remote.close()

    def _names(self, change: Change) -> list[str]:
        if change.kind in self.caches:
            known = self.caches[change.kind].kind
        elif change.kind in kind.KINDS:
            known = kind.KINDS[change.kind]()
        else:
            return []
        return [name for key in change.keys for name in keys.values_of_all_versions(known, key)]


def tiers() -> Tiers:
    """This process's caches."""
    global _tiers  # noqa: PLW0603 - one of each kind a process is the point
    with _making:
        if _tiers is None:
            _tiers = Tiers.of(settings())
        return _tiers


def drop_inherited_tiers() -> None:
    """In a fresh child: forget the parent's."""
    global _tiers, _making  # noqa: PLW0603
    _making = threading.Lock()
    _tiers = None


def close_tiers() -> None:
    """Close everything; the next `tiers()` begins anew."""
    global _tiers  # noqa: PLW0603
    if _tiers is not None:
        _tiers.close()
        _tiers = None
