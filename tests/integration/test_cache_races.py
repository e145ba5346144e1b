"""Reads, changes by key and by tag, doubts and early refreshes at once, in four processes' worth of caches over a real Redis.

Nothing ends by its time here, so an old value that is kept once is kept for good: after each round of changes every process must
have the newest. Loads and decoding take their time, so that changes come in between.
"""

import random
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from typing import Any

import pytest

from shared.cache.change import Change
from shared.cache.tiered import Cache
from shared.cache.tiers import Tiers
from tests.caches import KIND, Value, process
from tests.redis_server import EMBEDDED, RedisServer, running
from tests.waiting import eventually

PROCESSES, THREADS, KEYS = 4, 2, 4
ROUNDS, CHANGES_MAX = 50, 4
READ_SECONDS = 0.0005
"""Between a thread's reads: sixteen that never pause would leave the changes no time."""
LOAD_SECONDS_MAX = 0.002
"""A load takes up to so long after it has read: the window in which a change makes it old."""


class Rows:
    """The source: a number for each key, which only grows."""

    def __init__(self) -> None:
        self.numbers = {f"k{number}": 0 for number in range(KEYS)}
        self.lock = threading.Lock()

    def load(self, key: str, dice: random.Random) -> Value:
        """What is there now, a little later."""
        with self.lock:
            number = self.numbers[key]
        threading.Event().wait(dice.random() * LOAD_SECONDS_MAX)
        return Value(key, number, owner=owner(key))


def owner(key: str) -> str:
    """Whose a key is: four have three each."""
    return str(int(key[1:]) % 4)


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(EMBEDDED, tmp_path_factory.mktemp("cache")) as it:
        yield it


def test_whatever_is_read_and_changed_at_once_no_process_keeps_an_old_value(server: RedisServer) -> None:
    seed = random.SystemRandom().randrange(2**32)
    dice, rows, stop = random.Random(seed), Rows(), threading.Event()
    faults: list[str] = []
    with ExitStack() as stack:
        fleet = [process(server.url, fresh_seconds=3_600, local_seconds=3_600, early=50.0) for _ in range(PROCESSES)]
        for tiers, cache in fleet:
            stack.callback(tiers.close)
            decode_slowly(cache, dice.random())
        readers = [
            threading.Thread(target=read, args=(cache, rows, stop, random.Random(f"{seed} {number}"), faults))
            for number, (_, cache) in enumerate(fleet * THREADS)
        ]
        for reader in readers:
            reader.start()
        try:
            for _ in range(ROUNDS):
                change(fleet, rows, dice, faults)
                hear_the_last(fleet)
                faults += kept_old(fleet, rows)
                if faults:
                    break
        finally:
            stop.set()
            for reader in readers:
                reader.join()
    assert not faults, f"seed {seed}: {faults[:3]}"


def read(cache: Cache[Value], rows: Rows, stop: threading.Event, dice: random.Random, faults: list[str]) -> None:
    while not stop.wait(READ_SECONDS):
        key = f"k{dice.randrange(KEYS)}"
        value = cache.get_or_load(key, lambda key=key: rows.load(key, dice))  # type: ignore[misc]
        if value is None or value.text != key or value.number > rows.numbers[key]:
            faults.append(f"{key} read as {value}")


def change(fleet: list[tuple[Tiers, Cache[Value]]], rows: Rows, dice: random.Random, faults: list[str]) -> None:
    """Some changes of one key, each committed, then told; afterwards the process that told it must see it."""
    key = f"k{dice.randrange(KEYS)}"
    for _ in range(dice.randint(1, CHANGES_MAX)):
        tiers, cache = dice.choice(fleet)
        with rows.lock:
            rows.numbers[key] += 1
            newest = rows.numbers[key]
        tagged = dice.random() < 0.3
        if not tiers.tell([Change(tags=(f"owner:{owner(key)}",)) if tagged else Change(KIND.name, keys=(key,))]):
            faults.append(f"the change of {key} was not taken")
        if dice.random() < 0.5:  # else the next change comes while others load
            value = cache.get_or_load(key, lambda: rows.load(key, dice))
            if value is None or value.number < newest:
                faults.append(f"{key} is {newest}, and who changed it reads {value}")
        if dice.random() < 0.1:
            dice.choice(fleet)[1].copies.doubt()


def decode_slowly(cache: Cache[Value], seed: float) -> None:
    """What was read from Redis reaches the process's copies a little later, as when its thread is not scheduled."""
    open_, dice = cache.codec.open, random.Random(seed)

    def slow(raw: bytes) -> Any:
        threading.Event().wait(dice.random() * LOAD_SECONDS_MAX)
        return open_(raw)

    cache.codec.open = slow  # type: ignore[method-assign]


def kept_old(fleet: list[tuple[Tiers, Cache[Value]]], rows: Rows) -> list[str]:
    """The keys of which a process has an old value, although all have heard of every change."""
    found = []
    for number, (_, cache) in enumerate(fleet):
        for key, newest in rows.numbers.items():
            value = cache.get_or_load(key, lambda key=key: rows.load(key, random.Random(1)))  # type: ignore[misc]
            if value != Value(key, newest, owner=owner(key)):
                found.append(f"process {number} has {value} and {key} is {newest}")
    return found


def hear_the_last(fleet: list[tuple[Tiers, Cache[Value]]]) -> None:
    """Messages come in order: who has heard the last has heard all."""
    for _, cache in fleet:
        cache.get_or_load("last", lambda: Value("last"))
    assert fleet[0][0].tell([Change(KIND.name, keys=("last",))])
    for _, cache in fleet:
        eventually("it has heard the last change", lambda cache=cache: not cache.has_copy("last"), every=0.002)
