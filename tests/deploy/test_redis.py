"""The Redis configurations and users that we ship: a fleet runs with them, and no role can do what it has no need of."""

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.redis_client import connect
from tests.deploy.redis_users import PASSWORDS, Shipped, rendered, shipped, users
from tests.redis_server import DEBIAN, free_port
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not DEBIAN, reason="no redis-server 7 on this machine: the users need one")

TILT = 30
"""Seconds for which a Sentinel that was held up for over 2 s (by a slow fsync of its own file) looks and does not act."""


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Shipped]:
    with shipped("broker.conf", tmp_path / "broker") as it:
        yield it


@pytest.fixture(scope="module")
def idle(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Shipped]:
    """One for the tests that only ask."""
    with shipped("broker.conf", tmp_path_factory.mktemp("idle")) as it:
        yield it


@pytest.mark.parametrize(
    ("user", "command"),
    [
        ("ingress", "LRANGE messages.00 0 -1"),
        ("ingress", "RPOP messages.00"),
        ("ingress", "DEL messages.00"),
        ("ingress", "LPUSH headrace:lanes 1"),
        ("producer", "LRANGE messages 0 -1"),
        ("producer", "LPUSH webhooks.00 x"),
        ("producer", "GET headrace:lanes"),
        ("exporter", "LPUSH messages.00 x"),
        ("exporter", "KEYS *"),
        ("beat", "HGETALL headrace:held"),
        ("beat", "LPUSH messages.00 x"),
        ("worker", "SET other 1"),
        ("worker", "FLUSHALL"),
        ("worker", "CONFIG SET appendfsync no"),
        ("worker", "SCRIPT FLUSH"),
        ("operator", "CONFIG SET appendfsync no"),
        ("operator", "FLUSHALL"),
        ("operator", "SHUTDOWN"),
        ("replica", "SET a 1"),
        ("sentinel", "GET headrace:lanes"),
        ("probe", "GET headrace:lanes"),
    ],
)
def test_no_role_can_do_what_it_has_no_need_of(idle: Shipped, user: str, command: str) -> None:
    with idle.client(user) as client, pytest.raises(redis.exceptions.NoPermissionError):
        client.execute_command(*command.split())


def test_nobody_comes_in_without_a_name(idle: Shipped) -> None:
    with redis.Redis(port=idle.port, socket_timeout=5, retry=None) as client, pytest.raises(redis.AuthenticationError):
        client.ping()


def test_a_killed_broker_reads_back_everything_whatever_user_wrote_it_and_however(server: Shipped) -> None:
    """In 7.0 the log is read with the rights of `default`: where that has none, whole transactions were left out."""
    with server.client("ingress") as client:
        client.lpush("messages.00", "alone")
        client.pipeline(transaction=True).lpush("messages.01", "in a transaction").lpush("messages.02", "too").execute()
    with server.client("worker") as client:
        client.eval("redis.call('RPOP', 'messages.03') redis.call('LPUSH', 'messages.03', 'by a script')", 0)
    server.kill()
    server.start()
    with server.client("operator") as client:
        assert {name: client.llen(f"messages.0{name}") for name in range(4)} == dict.fromkeys(range(4), 1)


def test_no_password_stands_in_the_users_file() -> None:
    for kind in ("broker", "cache"):
        assert not any(password in users(kind) for password in PASSWORDS.values())


def test_the_broker_keeps_and_the_cache_evicts(idle: Shipped, tmp_path: Path) -> None:
    with idle.client("operator") as client:
        kept = {name: client.config_get(name)[name] for name in ("appendonly", "appendfsync", "maxmemory-policy")}
    assert kept == {"appendonly": "yes", "appendfsync": "always", "maxmemory-policy": "noeviction"}
    with shipped("cache.conf", tmp_path / "cache") as cache, cache.client("operator") as client:
        assert client.config_get("maxmemory-policy") == {"maxmemory-policy": "allkeys-lfu"}
        assert int(client.config_get("maxmemory")["maxmemory"]) > 0


def test_a_replica_follows_and_a_sentinel_promotes_it_with_their_own_users(server: Shipped, tmp_path: Path) -> None:
    broker, auth = tmp_path / "broker/broker.conf", tmp_path / "auth.conf"
    auth.write_text(f"masterauth {PASSWORDS['replica']}\n")
    replica_dir = tmp_path / "replica"
    replica_dir.mkdir()
    port = free_port()
    (replica_dir / "users.acl").write_text(users("broker"))
    (replica_dir / "broker.conf").write_text(broker.read_text().replace(str(tmp_path / "broker"), str(replica_dir)))
    configuration = rendered("replica.conf", replica_dir, port, replicaof=f"127.0.0.1 {server.port}")
    text = configuration.read_text().replace("/etc/redis/broker.conf", str(replica_dir / "broker.conf"))
    configuration.write_text(text.replace("/run/redis/auth.conf", str(auth)) + f"port {port}\n")
    replica = Shipped(port, [DEBIAN, str(configuration)])
    sentinel_dir = tmp_path / "sentinel"
    sentinel_dir.mkdir()
    watcher = sentinel(sentinel_dir, server.port)
    try:
        replica.start()
        with replica.client("operator") as client:
            eventually("the replica follows", lambda: link(client).get("master_link_status") == "up", within=20)
            watcher.start()
            url = f"sentinel://operator:{PASSWORDS['operator']}@127.0.0.1:{watcher.port}/0"
            with redis.Redis(port=watcher.port, socket_timeout=5, retry=None) as asked:
                eventually("it knows both", lambda: len(asked.sentinel_slaves("mymaster")) == 1, within=30)
                eventually("a failover begins", lambda: begins(asked), within=30, every=0.5)
            eventually("the replica is the master", lambda: link(client).get("role") == "master", within=30)
            with connect(url, timeout=5) as master:
                eventually("the fleet's client finds it", lambda: found(master, port), within=20)
    finally:
        for each in (watcher, replica):
            if hasattr(each, "process"):
                each.kill()


def link(client: redis.Redis) -> dict[str, object]:
    """What it says of its replication; nothing while a failover cuts its clients off."""
    try:
        return client.info("replication")
    except redis.ConnectionError:
        return {}


def begins(sentinel: redis.Redis) -> bool:
    try:
        return bool(sentinel.execute_command("SENTINEL", "FAILOVER", "mymaster"))
    except redis.ResponseError:  # it has not looked at the replica yet
        return False


def found(client: redis.Redis, port: int) -> bool:
    try:
        return int(client.info("server")["tcp_port"]) == port
    except redis.RedisError:
        return False


def sentinel(directory: Path, master: int) -> Shipped:
    """One of our own configuration."""
    port = free_port()
    path = rendered("sentinel.conf", directory, port)
    text = path.read_text().replace("monitor mymaster broker-1 6379 2", f"monitor mymaster 127.0.0.1 {master} 1")
    path.write_text(text + f"sentinel auth-pass mymaster {PASSWORDS['sentinel']}\n")

    class Sentinel(Shipped):
        def client(self, user: str) -> redis.Redis:
            return redis.Redis(port=self.port, socket_timeout=5, retry=None)

    assert os.access(directory, os.W_OK)
    return Sentinel(port, [DEBIAN, str(path), "--sentinel"])
