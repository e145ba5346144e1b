"""Caches for tests: a kind, a source that counts what it is asked, and processes' worth of tiers over one Redis."""

import threading
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Any

from msgspec import Struct

from shared.cache.change import Change
from shared.cache.kind import Kind
from shared.cache.redis import Remote
from shared.cache.tiered import Cache
from shared.cache.tiers import Tiers
from tests.waiting import eventually

KIND = Kind(
    "tests",
    version=7,
    fresh_seconds=60,
    local_seconds=60,
    absent_seconds=10,
    stale_seconds=120,
    jitter=0,
    early=0,
    entries_max=1000,
)


class Value(Struct, frozen=True):
    """What the tests cache."""

    text: str
    number: int = 0
    owner: str = ""


class Clock:
    """Monotonic seconds that a test moves."""

    def __init__(self) -> None:
        self.now = 1000.0

    def __call__(self) -> float:
        return self.now


class Source:
    """A dictionary that can be down, and closed until a test opens it."""

    def __init__(self, **rows: str) -> None:
        self.rows = rows
        self.up = True
        self.asked: list[list[str]] = []
        self.gate, self.entered = threading.Event(), threading.Event()
        self.gate.set()

    def load_many(self, keys: Sequence[str]) -> dict[str, Value | None]:
        """What there is, when it is up."""
        self.asked.append(list(keys))
        found: dict[str, Value | None] = {key: Value(self.rows[key], owner="ada") for key in keys if key in self.rows}
        self.entered.set()
        assert self.gate.wait(15)
        if not self.up:
            raise ConnectionError("the source is down")
        return found

    def get(self, cache: Cache[Value], key: str) -> str | None:
        """The text that ``cache`` has for ``key``, from here when it has none."""
        value = cache.get_or_load(key, lambda: self.load_many([key]).get(key))
        return value.text if value else None

    def get_many(self, cache: Cache[Value], *keys: str) -> dict[str, str]:
        """The same for several."""
        return {key: value.text for key, value in cache.get_many(keys, self.load_many).items()}


def owner_tags(value: Value) -> Iterable[str]:
    """Its owner is its tag."""
    return (f"owner:{value.owner}",)


def local_cache(clock: Clock, **changes: Any) -> Cache[Value]:
    """A process's own copies and nothing behind them."""
    return Cache(replace(KIND, **changes), Value, None, tags=owner_tags, clock=clock)


Process = tuple[Tiers, Cache[Value]]
Start = Callable[..., Process]


def change(*keys: str) -> list[Change]:
    """These keys have changed."""
    return [Change(KIND.name, keys=keys)]


def process(url: str, *, timeout: float = 2.0, **changes: Any) -> Process:
    """What one process of a fleet has, told of changes; the caller closes it."""
    tiers = Tiers(Remote(url, master="mymaster", timeout=timeout))
    cache = tiers.cache(replace(KIND, **changes), Value, tags=owner_tags)
    eventually("it is told of changes", lambda: tiers.listening)
    return tiers, cache
