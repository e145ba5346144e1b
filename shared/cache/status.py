"""What the cache's Redis says of itself, for `headrace cache stats`; and emptying it."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from shared.cache import keys, kind
from shared.cache.client import Client
from shared.cache.redis import Remote
from shared.metrics import counted

SCAN_COUNT = 1_000
"""Keys looked at in one step: about a millisecond of the server."""
USAGE = keys.PREFIX + "usage:"
REQUESTS = "headrace_cache_requests_total"
L1_HITS, L1_MISSES, L2_HITS = ("l1", "hit"), ("l1", "miss"), ("l2", "hit")
LOADED, STALE = ("source", "loaded"), ("source", "stale")


class Status(NamedTuple):
    """Of the server, or summed over a Cluster's.

    Args:
        memory_bytes: in use.
        memory_bytes_max: its bound; 0: none.
        policy: what it evicts when it is full.
        evicted: keys, since it started.
        kinds: of each kind its name, how many values there are, how many keys the last hours used; and as the fleet that shares
            `metrics_dir` has counted since it started, the hits of processes' copies and of Redis, what was loaded and what
            served stale, and the part of hits, None before the first.
    """

    memory_bytes: int
    memory_bytes_max: int
    policy: str
    evicted: int
    kinds: list[dict[str, Any]]


def ask(remote: Remote) -> Status | None:
    """Its status; None when it does not answer."""
    return remote.run("status", _ask)


def forget_all(remote: Remote, kind_name: str) -> bool:
    """Take all values of a kind away, or of all kinds when it is empty; whether Redis did."""
    prefixes = [keys.all_of(name) for name in ([kind_name] if kind_name else kind.KINDS)]

    def forget(client: Client) -> bool:
        for prefix in prefixes:
            pending: list[Any] = []
            for name in client.scan_iter(prefix, count=SCAN_COUNT):
                pending.append(name)
                if len(pending) == SCAN_COUNT:
                    _unlink(client, pending)
                    pending = []
            _unlink(client, pending)
        return True

    return bool(remote.run("forget", forget))


def _unlink(client: Client, names: list[Any]) -> None:
    pipeline = client.pipeline(transaction=False)
    for name in names:
        pipeline.unlink(name)
    pipeline.execute()


def _ask(client: Client) -> Status:
    infos = _infos(client)
    counts = {(each["cache"], each["tier"], each["result"]): int(value) for each, value in counted(REQUESTS)}
    return Status(
        _sum(infos, "used_memory"),
        _sum(infos, "maxmemory"),
        str(infos[0].get("maxmemory_policy", "")),
        _sum(infos, "evicted_keys"),
        [_of_kind(client, name, counts) for name in kind.KINDS],
    )


def _of_kind(client: Client, name: str, counts: dict[tuple[str, str, str], int]) -> dict[str, Any]:
    found = {what: counts.get((name, *what), 0) for what in (L1_HITS, L1_MISSES, L2_HITS, LOADED, STALE)}
    asked, hits = found[L1_HITS] + found[L1_MISSES], found[L1_HITS] + found[L2_HITS]
    return {
        "cache": name,
        "values": sum(1 for _ in client.scan_iter(keys.all_of(name), count=SCAN_COUNT)),
        "used_keys": _used(client, name),
        "l1_hits": found[L1_HITS],
        "l2_hits": found[L2_HITS],
        "loaded": found[LOADED],
        "stale": found[STALE],
        "hit_ratio": round(hits / asked, 4) if asked else None,
    }


def _infos(client: Client) -> list[dict[str, Any]]:
    info: Any = client.info()
    if "used_memory" in info:
        return [info]
    return list(info.values())  # a Cluster answers for each of its nodes


def _sum(infos: Iterable[dict[str, Any]], name: str) -> int:
    return sum(int(info.get(name, 0)) for info in infos)


def _used(client: Client, kind_name: str) -> int:
    counts = [client.zcard(name) for name in client.scan_iter(f"{USAGE}{kind_name}:*", count=SCAN_COUNT)]
    return max((int(count) for count in counts), default=0)
