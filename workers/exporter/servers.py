"""Of the two Redis servers: memory, evictions, connections, and whether the broker keeps what it was given."""

import math
from collections.abc import Callable, Mapping
from typing import Any

import redis
from redis.cluster import RedisCluster
from redis.exceptions import RedisClusterException

from shared.cache.client import Client
from shared.exporter_metrics import REDIS_CLIENTS, REDIS_EVICTED, REDIS_MEMORY, REDIS_MEMORY_MAX, REDIS_POLICY_OK
from workers.exporter.source import Readings, Source

ADDED = ("used_memory", "maxmemory", "evicted_keys", "connected_clients")
"""What of a Cluster's masters is added up."""

WANTED = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}
"""Of the broker (docs/deployment.md, "Servers"); the cache may do as it likes."""


class Server:
    """Reads one of them.

    Args:
        name: ``broker`` or ``cache``.
        connect: makes its client, whose answers have a deadline. Called when it is first asked: a Cluster's has to find nodes.
    """

    def __init__(self, name: str, connect: Callable[[], Client]) -> None:
        self._name = name
        self._connect = connect
        self._client: Client | None = None
        self._memory, self._most = Readings(REDIS_MEMORY, [(name,)]), Readings(REDIS_MEMORY_MAX, [(name,)])
        self._evicted, self._clients = Readings(REDIS_EVICTED, [(name,)]), Readings(REDIS_CLIENTS, [(name,)])
        self._policy = Readings(REDIS_POLICY_OK, [(name, policy) for policy in WANTED] if name == "broker" else ())

    def sources(self) -> tuple[Source, ...]:
        """All of it is one question."""
        shown = (self._memory, self._most, self._evicted, self._clients, self._policy)
        return (Source(self._name, self.read, shown),)

    def read(self) -> None:
        """Ask and show. Raises redis.RedisError."""
        try:
            client = self._client = self._client or self._connect()
            facts = _facts(client)
        except RedisClusterException as error:  # which is none of redis.RedisError
            raise redis.ConnectionError("no node of the Cluster answers") from error
        name = (self._name,)
        self._memory.show({name: facts["used_memory"]})
        self._most.show({name: facts["maxmemory"]})
        self._evicted.show({name: facts["evicted_keys"]})
        self._clients.show({name: facts["connected_clients"]})
        if self._name == "broker":
            self._policy.show({(*name, policy): value for policy, value in policies(_settings(client, facts)).items()})


def _facts(client: Client) -> Mapping[str, Any]:
    """What it says of itself; of a Cluster, all of its masters together."""
    if not isinstance(client, RedisCluster):
        return client.info()
    masters: Any = client.info(target_nodes=RedisCluster.PRIMARIES)
    nodes = [masters] if "used_memory" in masters else list(masters.values())
    return {name: sum(node[name] for node in nodes) for name in ADDED}


def _settings(client: Any, facts: Mapping[str, Any]) -> dict[str, Any]:
    told = {"maxmemory-policy": facts.get("maxmemory_policy")}
    try:
        return told | {policy: client.config_get(policy).get(policy) for policy in ("appendonly", "appendfsync")}
    except redis.ResponseError:  # a hosted server, or a user without the right
        return told


def policies(found: Mapping[str, Any]) -> dict[str, float]:
    """1 where a setting of the broker is as it must be, 0 where it is not, NaN where the server does not tell."""
    return {policy: math.nan if found.get(policy) is None else found[policy] == wanted for policy, wanted in WANTED.items()}
