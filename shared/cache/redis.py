"""L2: the values in Redis, behind a breaker. Every method answers None, or False, when Redis does not: the caller goes on
without.

A loader takes a *lease* on a key before it loads and stores under it: ``SET lease token NX PX``. So one process of the fleet
loads a key, and a change made while it loads takes the lease away together with the value, so that what was read before the
change is never kept after it (Nishtala et al.: Scaling Memcache at Facebook, NSDI 2013).
"""

import logging
import threading
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, NamedTuple, TypeVar

from redis.cluster import RedisCluster

from shared.breaker import Breaker
from shared.cache import keys
from shared.cache.change import Change
from shared.cache.client import ERRORS, Client, is_cluster, open_client
from shared.clock import monotonic_seconds
from shared.metrics import CACHE_SECONDS

# The standard library's logger: a command line, which configures none, shows no more than warnings, on stderr.
log = logging.getLogger(__name__)

T = TypeVar("T")

BREAKER = "cache"
OPEN_SECONDS = 5.0
"""A Redis that hangs costs a process its time-out once in so long: a twentieth of a worker's time at most."""
CLOCK_SECONDS = 10.0
"""Between two questions for the server's clock; hosts' clocks run apart by less than a millisecond in that time."""
CAUTION_US = 2_000
"""A load counts as begun this much sooner than it did, against that drift: a change is never missed for it."""

STORE = """
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
redis.call('SET', KEYS[1], ARGV[2], 'PX', ARGV[3])
redis.call('DEL', KEYS[2])
return 1
"""
RELEASE = "if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end return 1"
STAMP = """
local time = redis.call('TIME')
redis.call('SET', KEYS[1], string.format('%.0f', time[1] * 1000000 + time[2]), 'PX', ARGV[1])
return 1
"""


class Read(NamedTuple):
    """What stood under each name, None for nothing, and the server's clock in microseconds."""

    values: list[bytes | None]
    now_us: int


class Kept(NamedTuple):
    """A value to store: its name, its bytes, and for how long Redis keeps it."""

    name: str
    raw: bytes
    milliseconds: int


class Remote:
    """Thread-safe, usable on both sides of a fork.

    Args:
        url: see `shared.cache.client`.
        master: what the Sentinels call the server.
        timeout: seconds to connect and to wait for each answer.
        clock: monotonic seconds.
    """

    def __init__(self, url: str, *, master: str, timeout: float, clock: Callable[[], float] = monotonic_seconds) -> None:
        self._open: Callable[[], Client] = partial(open_client, url, timeout=timeout, master=master)
        self.cluster = is_cluster(url)
        self.breaker = Breaker(BREAKER, failures=1, open_seconds=OPEN_SECONDS, clock=clock)
        self._clock = clock
        self._lock = threading.Lock()
        self._connected: Client | None = None if self.cluster else self._open()
        self._ahead_us, self._asked_at = 0, -CLOCK_SECONDS

    def read(self, names: Sequence[str]) -> Read | None:
        """What stands under the names: one MGET (in a Cluster one for each slot)."""

        def get(client: Client) -> Read:
            values: Any = client.mget_nonatomic(*names) if isinstance(client, RedisCluster) else client.mget(names)
            return Read(list(values), self._now_us(client))

        return self.run("read", get)

    def lease(self, names: Sequence[str], token: str, milliseconds: int) -> tuple[list[bool], Read] | None:
        """Which of the names are ours to load, and what stands there by now: somebody may have just finished."""

        def take(client: Client) -> tuple[list[bool], Read]:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.set(keys.lease(name), token, nx=True, px=milliseconds)
                pipeline.get(name)
            answers = pipeline.execute()
            return [bool(each) for each in answers[::2]], Read(answers[1::2], self._now_us(client))

        return self.run("lease", take)

    def store(self, values: Sequence[Kept], token: str) -> list[bool] | None:
        """Keep each value whose lease is still ours, and give the lease back; which were kept."""

        def put(client: Client) -> list[bool]:
            pipeline = client.pipeline(transaction=False)
            for name, raw, milliseconds in values:
                pipeline.execute_command("EVAL", STORE, 2, name, keys.lease(name), token, raw, milliseconds)
            return [bool(each) for each in pipeline.execute()]

        return self.run("store", put)

    def release(self, names: Sequence[str], token: str) -> None:
        """Give leases back that came to nothing, so that the next one need not wait for their end."""

        def drop(client: Client) -> None:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.execute_command("EVAL", RELEASE, 1, keys.lease(name), token)
            pipeline.execute()

        self.run("release", drop)

    def invalidate(self, names: Sequence[str], change: Change) -> bool:
        """Take the values and their leases away, stamp the tags, tell every process; whether Redis did."""

        def forget(client: Client) -> bool:
            pipeline = client.pipeline(transaction=False)
            for name in names:
                pipeline.execute_command("UNLINK", name, keys.lease(name))
            for tag in change.tags:
                pipeline.execute_command("EVAL", STAMP, 1, keys.tag(tag), keys.CHANGED_AGAIN_MS)
            pipeline.execute()
            client.publish(keys.CHANGED, change.encode())  # after it: who hears of it and reads finds nothing old
            return True

        return bool(self.run("invalidate", forget))

    def now_us(self) -> int | None:
        """The server's clock, microseconds, never ahead of the truth; None when it was never asked."""
        return self._estimate() if self._asked_at >= 0 else None

    def run(self, operation: str, work: Callable[[Client], T]) -> T | None:
        """``work`` with a client, counted and timed; None when Redis did not answer, or is not to be asked now."""
        if not self.breaker.allows():
            return None
        started = monotonic_seconds()
        try:
            answer = work(self.client())
        except ERRORS as error:
            self.breaker.failed()
            self._asked_at = -CLOCK_SECONDS  # who answers next may be another server, with another clock
            log.info("the cache does not answer, going on without: %s in %s", type(error).__name__, operation)
            return None
        finally:
            CACHE_SECONDS.labels("l2", operation).observe(monotonic_seconds() - started)
        self.breaker.succeeded()
        return answer

    def open(self) -> Client:
        """A client of the caller's own. Raises one of ERRORS for a Cluster that is away."""
        return self._open()

    def client(self) -> Client:
        """The client. Raises one of ERRORS for a Cluster that is away."""
        with self._lock:
            if self._connected is None:
                self._connected = self._open()
            return self._connected

    def close(self) -> None:
        """Close the connections."""
        if self._connected is not None:
            self._connected.close()

    def _now_us(self, client: Client) -> int:
        if self._clock() - self._asked_at >= CLOCK_SECONDS:
            time: Any = client.time()
            # Of a Cluster's nodes the slowest clock: a change is stamped by any of them, and must not seem to come before a load.
            seconds, micros = min(time.values()) if isinstance(time, dict) else time
            asked_at = self._clock()
            self._ahead_us = int(seconds) * 1_000_000 + int(micros) - int(asked_at * 1e6)
            self._asked_at = asked_at  # last: another thread that sees it finds the difference, too
        return self._estimate()

    def _estimate(self) -> int:
        return int(self._clock() * 1e6) + self._ahead_us
