"""A Redis as a doctor sees it: what it says of itself, and what of that is wrong. For the broker and for the cache."""

from collections.abc import Iterator
from typing import Any, NamedTuple

import redis

from shared.clock import monotonic_seconds, wall_seconds
from workers.doctor.finding import NOTE, WRONG, Finding

VERSION_MIN = (6, 2)
"""Our scripts need it."""
FULL_RATIO = 0.8
"""Of `maxmemory` or of `maxclients`: time to act before the rest is gone."""
ANSWER_SECONDS_MAX = 0.05
"""A claim that takes longer holds the whole fleet up."""
SKEW_SECONDS_MAX = 2.0
"""Of two hosts' clocks. Leases do not care; lags, ages and the signatures' window of 5 minutes do."""
REPLICAS_WANTED = 2
"""With Sentinels: one must confirm each write, and one may be away."""


class RedisFacts(NamedTuple):
    """What the server said; ``skew_seconds`` is its clock's lead over ours, ``answer_seconds`` its quickest answer of some."""

    version: str
    role: str
    used_bytes: int
    max_bytes: int
    clients: int
    clients_max: int
    aof: bool
    aof_write_ok: bool
    aof_rewrite_ok: bool
    replicas: int
    skew_seconds: float
    answer_seconds: float

    def __str__(self) -> str:
        of = f" of {self.max_bytes >> 20}" if self.max_bytes else ""
        log = ", append-only log" if self.aof else ""
        return f"Redis {self.version}, {self.used_bytes >> 20}{of} MB{log}, answers in {self.answer_seconds * 1000:.1f} ms"


def ask(server: redis.Redis) -> RedisFacts:
    """Ask it. Raises redis.RedisError."""
    info: dict[str, Any] = server.info()
    answers = []
    for _ in range(5):
        started = monotonic_seconds()
        seconds, micros = server.time()
        answers.append(monotonic_seconds() - started)
        skew = int(seconds) + int(micros) / 1e6 - wall_seconds() + answers[-1] / 2
    return RedisFacts(
        version=str(info.get("valkey_version") or info["redis_version"]),
        role=str(info["role"]),
        used_bytes=int(info["used_memory"]),
        max_bytes=int(info.get("maxmemory", 0)),
        clients=int(info["connected_clients"]),
        clients_max=int(info.get("maxclients", 0)),
        aof=bool(info.get("aof_enabled", 0)),
        aof_write_ok=info.get("aof_last_write_status", "ok") == "ok",
        aof_rewrite_ok=info.get("aof_last_bgrewrite_status", "ok") == "ok",
        replicas=_following(info),
        skew_seconds=skew,
        answer_seconds=min(answers),
    )


def of_broker(facts: RedisFacts, *, sentinel: bool) -> Iterator[Finding]:
    """What is wrong with the broker. ``sentinel``: the fleet was told of it by its Sentinels."""
    yield from _common("broker", facts)
    if facts.role != "master":
        yield _wrong("broker", "it is a replica and takes no writes", "name its master, or its Sentinels, in HEADRACE_BROKER_URL")
    if not facts.max_bytes:
        problem = "it has no maxmemory: a backlog takes the host's memory, and the kernel ends it"
        yield Finding("broker", NOTE, problem, "set maxmemory in its redis.conf to half of the host's memory")
    elif facts.used_bytes > FULL_RATIO * facts.max_bytes:
        share = f"{facts.used_bytes >> 20} of {facts.max_bytes >> 20} MB are used"
        yield _wrong(
            "broker",
            f"{share}: full, it refuses what is new (503)",
            "start more workers, or raise its maxmemory (`headrace queue list`)",
        )
    if not facts.aof_write_ok:
        yield _wrong(
            "broker", "its last write to the log failed: it refuses writes", "make room on its disk, or mend it; its log says why"
        )
    if not facts.aof_rewrite_ok:
        yield _wrong(
            "broker", "its last rewrite of the log failed: the log grows", "give it disk, and memory for a fork; its log says why"
        )
    if sentinel and facts.replicas < REPLICAS_WANTED:
        level = NOTE if facts.replicas else WRONG
        lost = "nothing is accepted (503)" if not facts.replicas else "without that one nothing would be accepted"
        yield Finding(
            "broker", level, f"{facts.replicas} replicas follow it: {lost}", "start the other replicas, and see that they follow"
        )


def of_cache(facts: RedisFacts) -> Iterator[Finding]:
    """What is wrong with the cache."""
    yield from _common("cache", facts)
    if not facts.max_bytes:
        yield _wrong("cache", "it has no maxmemory, so it never evicts and grows", "set maxmemory 64mb in its redis.conf")


def _common(target: str, facts: RedisFacts) -> Iterator[Finding]:
    if tuple(int(part) for part in facts.version.split(".")[:2]) < VERSION_MIN:
        yield _wrong(target, f"it is version {facts.version}", "run Redis 6.2 or newer, or Valkey")
    if abs(facts.skew_seconds) > SKEW_SECONDS_MAX:
        ahead = "ahead of" if facts.skew_seconds > 0 else "behind"
        yield _wrong(
            target, f"its clock is {abs(facts.skew_seconds):.1f} s {ahead} this host's", "run chrony on both; slew, do not step"
        )
    if facts.clients_max and facts.clients > FULL_RATIO * facts.clients_max:
        yield _wrong(
            target,
            f"{facts.clients} of {facts.clients_max} connections are taken",
            "raise its maxclients and its limit of open files",
        )
    if facts.answer_seconds > ANSWER_SECONDS_MAX:
        problem = f"its quickest of five answers took {facts.answer_seconds * 1000:.0f} ms"
        yield Finding(target, NOTE, problem, "look at the network, at `SLOWLOG GET`, and whether its disk syncs slowly")


def _following(info: dict[str, Any]) -> int:
    replicas = (info.get(f"slave{number}") for number in range(int(info.get("connected_slaves", 0))))
    return sum(1 for each in replicas if isinstance(each, dict) and each.get("state") == "online")


def _wrong(target: str, problem: str, fix: str) -> Finding:
    return Finding(target, WRONG, problem, fix)
