"""A failover by Redis Sentinel in the middle of the work."""

import random
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from tests.chaos.fleet import Fleet, running_fleet
from tests.chaos.form import long_form
from tests.chaos.ledger import Ledger, slowest_seconds, stored
from tests.chaos.load import Load, to_lanes
from tests.chaos.report import show
from tests.chaos.test_broker_faults import Consumer, effects_of, in_order, payload, settled
from tests.conftest import RunningStack
from tests.redis_server import EMBEDDED, RedisServer, free_port, running
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")


@pytest.fixture
def master(tmp_path: Path) -> Iterator[RedisServer]:
    (tmp_path / "master").mkdir()
    with running(EMBEDDED, tmp_path / "master") as server:
        yield server


@pytest.fixture
def replica(tmp_path: Path, master: RedisServer) -> Iterator[RedisServer]:
    (tmp_path / "replica").mkdir()
    with running(EMBEDDED, tmp_path / "replica") as server:
        server.client.replicaof("127.0.0.1", master.port)
        eventually("the replica follows", lambda: server.client.info("replication")["master_link_status"] == "up", within=20)
        yield server


@pytest.fixture
def sentinel_url(tmp_path: Path, master: RedisServer, replica: RedisServer) -> Iterator[str]:
    port, config = free_port(), tmp_path / "sentinel.conf"
    config.write_text(
        f"port {port}\nbind 127.0.0.1\ndir {tmp_path}\nsentinel monitor mymaster 127.0.0.1 {master.port} 1\n"
        "sentinel down-after-milliseconds mymaster 1000\nsentinel failover-timeout mymaster 5000\n"
    )
    process = subprocess.Popen([EMBEDDED, str(config), "--sentinel"], stdout=subprocess.DEVNULL)
    client = redis.Redis(port=port, socket_timeout=2)

    def knows_the_replica() -> bool:
        try:
            return len(client.sentinel_slaves("mymaster")) == 1
        except redis.RedisError:
            return False

    try:
        eventually("the sentinel knows the replica", knows_the_replica, within=30)
        yield f"sentinel://127.0.0.1:{port}/0"
    finally:
        client.close()
        process.kill()
        process.wait()


@pytest.fixture
def effects(tmp_path: Path) -> Iterator[RedisServer]:
    (tmp_path / "effects").mkdir()
    with running(EMBEDDED, tmp_path / "effects") as server:
        yield server


def test_work_goes_on_in_order_on_the_new_master(
    sentinel_url: str, master: RedisServer, replica: RedisServer, effects: RedisServer, tmp_path: Path
) -> None:
    sent = [f"{number:05d}" for number in range(300)]
    master.client.lpush("messages.00", *map(payload, sent))
    assert master.client.wait(1, 5000) == 1, "confirmed by the replica"
    consumer = Consumer(sentinel_url, effects.url, tmp_path, "messages.00", seconds=0.01)
    try:
        eventually("it works", lambda: len(effects_of(effects)) > 20)
        master.kill()
        eventually("all are handled", lambda: set(effects_of(effects)) == set(sent) and settled(replica.client), within=60)
        assert in_order(effects_of(effects))
        assert consumer.process.poll() is None
    finally:
        consumer.kill()


@pytest.fixture
def fleet(clean: RunningStack, master: RedisServer, sentinel_url: str) -> Iterator[Fleet]:
    with running_fleet(clean, master, sentinel_url) as it:
        yield it


@long_form
def test_our_producer_and_workers_go_on_with_the_new_master(
    fleet: Fleet, replica: RedisServer, account: str, ledger: Ledger, dice: random.Random
) -> None:
    """The old master comes back as a replica: without one, nothing that is published would be confirmed."""
    fleet.start_together("w1", "w2")
    flow = Load(
        to_lanes(fleet.environment["HEADRACE_BROKER_URL"], account), ledger, "m", dice, conversations=50, batch=20, every=0.05
    )
    flow.start()
    eventually("it works", lambda: stored() > 200)
    fleet.broker.kill()
    eventually("the replica is the master", lambda: replica.client.info("replication")["role"] == "master", within=30)
    fleet.broker.start()
    before = len(ledger)
    eventually("publishing goes on", lambda: len(ledger) > before + 200, within=60)
    flow.stop()
    ledger.settle(replica.client, within=60)
    fleet.assert_alive()
    show("8", "Sentinel failover under load", injections=1, messages=len(ledger), seconds=slowest_seconds())
