"""Reading from Redis: what stands there, and whether it still holds.

A value whose load began before one of its tags was invalidated does not. The stamps of the tags come along in the same MGET when
the tags are known, from a copy that is being renewed; else they cost one more.
"""

from collections.abc import Iterable, Sequence
from typing import TYPE_CHECKING, Generic, TypeVar

from shared.cache import keys as names
from shared.cache.envelope import Envelope
from shared.cache.redis import Read

if TYPE_CHECKING:
    from shared.cache.tiered import Cache

V = TypeVar("V")

NEVER_OVER = b"9" * 18
"""Stands for a stamp when Redis does not say: nobody can tell that nothing has changed."""


class Reading(Generic[V]):
    """The reads of one fetch.

    Args:
        cache: whose.
    """

    def __init__(self, cache: "Cache[V]") -> None:
        self._cache = cache
        self._stamps: dict[str, bytes | None] = {}

    def look(self, keys: Sequence[str], tags: Iterable[str]) -> Read | None:
        """What stands under ``keys``; the stamps of ``tags`` come along. None without Redis."""
        if self._cache.remote is None:
            return None
        known = list(dict.fromkeys(tags))
        read = self._cache.remote.read([*(names.value(self._cache.kind, key) for key in keys), *map(names.tag, known)])
        if read is None:
            return None
        self._stamps = dict(zip(known, read.values[len(keys) :], strict=True))
        return Read(read.values[: len(keys)], read.now_us)

    def holding(self, keys: Sequence[str], read: Read) -> dict[str, tuple[Envelope, V | None]]:
        """Of what was read, all that can be opened and has not changed since it was loaded."""
        opened = {}
        for key, raw in zip(keys, read.values, strict=True):
            if raw is not None and (it := self._cache.codec.open(raw)) is not None:
                opened[key] = it
        self._ask(tag for envelope, _ in opened.values() for tag in envelope.tags)
        return {key: it for key, it in opened.items() if not self._is_changed(it[0])}

    def _ask(self, tags: Iterable[str]) -> None:
        unknown = list(dict.fromkeys(tag for tag in tags if tag not in self._stamps))
        if unknown and self._cache.remote is not None:
            read = self._cache.remote.read([names.tag(tag) for tag in unknown])
            self._stamps |= dict(zip(unknown, read.values if read else [NEVER_OVER] * len(unknown), strict=True))

    def _is_changed(self, envelope: Envelope) -> bool:
        return any(int(self._stamps.get(tag) or 0) >= envelope.loaded_at for tag in envelope.tags)
