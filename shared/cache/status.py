"""What the cache's Redis says of itself, for `headrace cache stats`; and emptying it."""

from collections.abc import Iterable
from typing import Any, NamedTuple

from shared.cache import keys, kind
from shared.cache.client import Client
from shared.cache.redis import Remote

SCAN_COUNT = 1_000
"""Keys looked at in one step: about a millisecond of the server."""
USAGE = keys.PREFIX + "usage:"


class Status(NamedTuple):
    """Of the server, or summed over a Cluster's.

    Args:
        memory_bytes: in use.
        memory_bytes_max: its bound; 0: none.
        policy: what it evicts when it is full.
        evicted: keys, since it started.
        hits: keys found, since it started.
        misses: keys not found.
        hit_ratio: of the two; None before the first.
        kinds: of each kind its name, how many values there are, and how many keys the last hours used.
    """

    memory_bytes: int
    memory_bytes_max: int
    policy: str
    evicted: int
    hits: int
    misses: int
    hit_ratio: float | None
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
    hits, misses = (_sum(infos, name) for name in ("keyspace_hits", "keyspace_misses"))
    kinds = [
        {
            "cache": name,
            "values": sum(1 for _ in client.scan_iter(keys.all_of(name), count=SCAN_COUNT)),
            "used_keys": _used(client, name),
        }
        for name in kind.KINDS
    ]
    return Status(
        _sum(infos, "used_memory"),
        _sum(infos, "maxmemory"),
        str(infos[0].get("maxmemory_policy", "")),
        _sum(infos, "evicted_keys"),
        hits,
        misses,
        round(hits / (hits + misses), 4) if hits + misses else None,
        kinds,
    )


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
