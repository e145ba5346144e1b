"""Of the two Redis servers: memory, evictions, connections, and whether the broker keeps what it was given."""

import math
from collections.abc import Mapping
from typing import Any

import redis

from shared.exporter_metrics import REDIS_CLIENTS, REDIS_EVICTED, REDIS_MEMORY, REDIS_MEMORY_MAX, REDIS_POLICY_OK
from workers.exporter.source import Readings, Source

WANTED = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}
"""Of the broker (docs/deployment.md, "Servers"); the cache may do as it likes."""


class Server:
    """Reads one of them.

    Args:
        name: ``broker`` or ``cache``.
        client: answers within its own deadline.
    """

    def __init__(self, name: str, client: redis.Redis) -> None:
        self._name = name
        self._client = client
        self._memory, self._most = Readings(REDIS_MEMORY, [(name,)]), Readings(REDIS_MEMORY_MAX, [(name,)])
        self._evicted, self._clients = Readings(REDIS_EVICTED, [(name,)]), Readings(REDIS_CLIENTS, [(name,)])
        self._policy = Readings(REDIS_POLICY_OK, [(name, policy) for policy in WANTED] if name == "broker" else ())

    def sources(self) -> tuple[Source, ...]:
        """All of it is one question."""
        shown = (self._memory, self._most, self._evicted, self._clients, self._policy)
        return (Source(self._name, self.read, shown),)

    def read(self) -> None:
        """Ask and show."""
        facts: Any = self._client.info()
        name = (self._name,)
        self._memory.show({name: facts["used_memory"]})
        self._most.show({name: facts["maxmemory"]})
        self._evicted.show({name: facts["evicted_keys"]})
        self._clients.show({name: facts["connected_clients"]})
        if self._name == "broker":
            self._policy.show({(*name, policy): value for policy, value in policies(self._settings(facts)).items()})

    def _settings(self, facts: Mapping[str, Any]) -> dict[str, Any]:
        told = {"maxmemory-policy": facts.get("maxmemory_policy")}
        try:
            return told | {policy: self._client.config_get(policy).get(policy) for policy in ("appendonly", "appendfsync")}
        except redis.ResponseError:  # a hosted server, or a user without the right
            return told


def policies(found: Mapping[str, Any]) -> dict[str, float]:
    """1 where a setting of the broker is as it must be, 0 where it is not, NaN where the server does not tell."""
    return {policy: math.nan if found.get(policy) is None else found[policy] == wanted for policy, wanted in WANTED.items()}
