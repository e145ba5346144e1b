"""A master, a replica and the Sentinel that watches them, for a test of their own; failed over at will."""

import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import redis

from shared.redis_client import MASTER_DEFAULT, connect
from tests.redis_server import RedisServer, free_port, running
from tests.waiting import eventually

SETTINGS = """port {port}
bind 127.0.0.1
dir {directory}
sentinel monitor {name} 127.0.0.1 {master} 1
sentinel down-after-milliseconds {name} 1000
sentinel failover-timeout {name} 5000
"""


class SentinelGroup:
    """See the module.

    Args:
        master, replica: as they are now; a failover changes the names' meaning, not the servers.
        sentinel: a client of the Sentinel.
        url: how a fleet is told of it.
    """

    def __init__(self, master: RedisServer, replica: RedisServer, sentinel: redis.Redis, url: str) -> None:
        self.master, self.replica, self.url = master, replica, url
        self._sentinel = sentinel
        self.client = connect(url, timeout=5)

    @property
    def port(self) -> int:
        """The present master's."""
        return self.master.port

    def failover(self) -> None:
        """The replica becomes the master, and the master a replica that follows it."""
        eventually("the sentinel takes the replica for a good one", self._begin, within=30, every=0.5)
        self.master, self.replica = self.replica, self.master
        eventually("the replica is the master", lambda: _role(self.master) == "master", within=30)
        eventually("the old master follows it", self.follows, within=60)
        eventually(
            "the sentinel names it", lambda: self._sentinel.sentinel_get_master_addr_by_name(MASTER_DEFAULT)[1] == self.port
        )

    def _begin(self) -> bool:
        try:
            return bool(self._sentinel.execute_command("SENTINEL", "FAILOVER", MASTER_DEFAULT))
        except redis.ResponseError:  # it has not looked at the replica yet, or is at the end of another one
            return False

    def follows(self) -> bool:
        """Whether the replica has what the master has."""
        try:
            link = self.replica.client.info("replication")
        except redis.ConnectionError:  # a Sentinel ends the connections of whoever changes sides
            return False
        return bool(link["role"] == "slave" and link["master_port"] == self.port and link["master_link_status"] == "up")


def _role(server: RedisServer) -> str:
    try:
        return str(server.client.info("replication")["role"])
    except redis.ConnectionError:  # a Sentinel ends the connections of whoever changes sides
        return ""


@contextmanager
def sentinel_group(binary: str, directory: Path) -> Iterator[SentinelGroup]:
    """A group for the length of a ``with``; its files are below ``directory``."""
    places = [directory / name for name in ("first", "second", "sentinel")]
    for place in places:
        place.mkdir()
    # Durable as a broker is: a master that came back empty would empty its replica, should the failover have been given up.
    durable = ("--appendonly", "yes", "--appendfsync", "always")
    with running(binary, places[0], *durable) as master, running(binary, places[1], *durable) as replica:
        replica.client.replicaof("127.0.0.1", master.port)
        port, config = free_port(), places[2] / "sentinel.conf"
        config.write_text(SETTINGS.format(port=port, directory=places[2], name=MASTER_DEFAULT, master=master.port))
        process = subprocess.Popen([binary, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
        sentinel = redis.Redis(port=port, socket_timeout=2, retry=None)

        def knows_the_replica() -> bool:
            try:
                return len(sentinel.sentinel_slaves(MASTER_DEFAULT)) == 1
            except redis.RedisError:
                return False

        try:
            group = SentinelGroup(master, replica, sentinel, f"sentinel://127.0.0.1:{port}/0")
            eventually("the replica follows", group.follows, within=20)
            eventually("the sentinel knows the replica", knows_the_replica, within=30)
            yield group
            group.client.close()
        finally:
            sentinel.close()
            process.kill()
            process.wait()
