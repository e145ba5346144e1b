"""The cache server's clock as a process estimates it: of which server, and never ahead of the truth."""

from collections.abc import Callable
from typing import Any

import pytest
import redis

from shared.cache import redis as remotes
from shared.cache.redis import CLOCK_SECONDS, OPEN_SECONDS, Remote
from tests.caches import Clock


class Server:
    """Stands for a client; answers with its clock."""

    def __init__(self, *clocks: int) -> None:
        self.clocks = clocks
        self.up = True

    def time(self) -> Any:
        """As redis-py tells it: of one server, or of each node of a Cluster."""
        return {f"node {n}": (seconds, 0) for n, seconds in enumerate(self.clocks)} if self.clocks[1:] else (self.clocks[0], 0)

    def mget(self, names: list[str]) -> list[None]:
        if not self.up:
            raise redis.ConnectionError
        return [None] * len(names)


@pytest.fixture
def remote_of(monkeypatch: pytest.MonkeyPatch) -> Callable[[Server, Clock], Remote]:
    def it(server: Server, clock: Clock) -> Remote:
        monkeypatch.setattr(remotes, "open_client", lambda *_, **__: server)
        return Remote("redis://unused", master="", timeout=1, clock=clock)

    return it


def seconds_of(remote: Remote) -> int:
    read = remote.read(["a"])
    assert read
    return read.now_us // 1_000_000


def test_it_is_asked_for_once_in_a_while_and_goes_on_with_ours(remote_of: Callable[[Server, Clock], Remote]) -> None:
    server, clock = Server(5_000), Clock()
    remote = remote_of(server, clock)
    assert remote.now_us() is None
    assert seconds_of(remote) == 5_000
    server.clocks = (9_000,)
    clock.now += CLOCK_SECONDS - 1
    assert seconds_of(remote) == 5_000 + CLOCK_SECONDS - 1
    clock.now += 1
    assert seconds_of(remote) == 9_000


def test_of_a_cluster_the_slowest_clock_counts(remote_of: Callable[[Server, Clock], Remote]) -> None:
    """A tag's change is stamped by any node: by the fastest one's clock, a load before the change would seem to come after it."""
    assert seconds_of(remote_of(Server(5_003, 5_001, 5_002), Clock())) == 5_001


def test_whoever_answers_after_a_failure_is_asked_anew(remote_of: Callable[[Server, Clock], Remote]) -> None:
    """A failover's new master has another clock."""
    server, clock = Server(5_003), Clock()
    remote = remote_of(server, clock)
    seconds_of(remote)
    server.up, server.clocks = False, (5_001,)
    assert remote.read(["a"]) is None
    server.up = True
    clock.now += OPEN_SECONDS
    assert seconds_of(remote) == 5_001
