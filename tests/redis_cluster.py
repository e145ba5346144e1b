"""A Redis Cluster of three masters on loopback, for a test of its own."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import redis

from tests.redis_server import RedisServer, free_port, running
from tests.waiting import eventually
from workers.local.ports import is_free

MASTERS = 3
SLOTS, PORTS = 16_384, 65_536
BUS = 10_000
"""A node's bus listens on its port and this."""


class RedisCluster:
    """Running masters.

    Args:
        masters: each with a third of the slots.
    """

    def __init__(self, masters: list[RedisServer]) -> None:
        self.masters = masters
        self.url = ";".join(f"cluster://127.0.0.1:{master.port}" for master in masters)

    def keys(self, pattern: str) -> list[bytes]:
        """Of all masters."""
        return [key for master in self.masters for key in master.client.keys(pattern)]


@contextmanager
def cluster(binary: str, directory: Path) -> Iterator[RedisCluster]:
    """A cluster for the length of a ``with``; its files are below ``directory``."""
    with ExitStack() as started:
        masters = []
        for number in range(MASTERS):
            place = directory / str(number)
            place.mkdir()
            options = ("--cluster-enabled", "yes", "--cluster-node-timeout", "2000")
            masters.append(started.enter_context(running(binary, place, *options, port=_port())))
        for number, master in enumerate(masters):
            share = range(number * SLOTS // MASTERS, (number + 1) * SLOTS // MASTERS)
            master.client.execute_command("CLUSTER", "SET-CONFIG-EPOCH", number + 1)
            master.client.execute_command("CLUSTER", "ADDSLOTS", *share)
            master.client.execute_command("CLUSTER", "MEET", "127.0.0.1", masters[0].port)
        eventually("the cluster is whole", lambda: all(map(_whole, masters)), within=30)
        yield RedisCluster(masters)


def _port() -> int:
    """One whose bus has a port too: below 55536."""
    return eventually(
        "two ports are free", lambda: port if (port := free_port()) + BUS < PORTS and is_free(port + BUS) else 0, every=0
    )


def _whole(master: RedisServer) -> bool:
    try:
        info = master.client.execute_command("CLUSTER", "INFO")
    except redis.RedisError:
        return False
    return b"cluster_state:ok" in info and b"cluster_known_nodes:%d" % MASTERS in info
