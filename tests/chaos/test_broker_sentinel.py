"""A failover by Redis Sentinel in the middle of the work."""

import random
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.fleet import Fleet, running_fleet
from tests.chaos.form import long_form
from tests.chaos.ledger import Ledger, slowest_seconds, stored
from tests.chaos.load import Load, to_lanes
from tests.chaos.report import show
from tests.chaos.test_broker_faults import Consumer, effects_of, in_order, payload, settled
from tests.conftest import RunningStack
from tests.redis_server import EMBEDDED, RedisServer, running
from tests.sentinel import SentinelGroup, sentinel_group
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")


@pytest.fixture
def group(tmp_path: Path) -> Iterator[SentinelGroup]:
    with sentinel_group(EMBEDDED, tmp_path) as it:
        yield it


@pytest.fixture
def effects(tmp_path: Path) -> Iterator[RedisServer]:
    (tmp_path / "effects").mkdir()
    with running(EMBEDDED, tmp_path / "effects") as server:
        yield server


def test_work_goes_on_in_order_on_the_new_master(group: SentinelGroup, effects: RedisServer, tmp_path: Path) -> None:
    sent = [f"{number:05d}" for number in range(300)]
    group.master.client.lpush("messages.00", *map(payload, sent))
    assert group.master.client.wait(1, 5000) == 1, "confirmed by the replica"
    consumer = Consumer(group.url, effects.url, tmp_path, "messages.00", seconds=0.01)
    try:
        eventually("it works", lambda: len(effects_of(effects)) > 20)
        group.master.kill()
        eventually("all are handled", lambda: set(effects_of(effects)) == set(sent) and settled(group.replica.client), within=60)
        assert in_order(effects_of(effects))
        assert consumer.process.poll() is None
    finally:
        consumer.kill()


@pytest.fixture
def fleet(clean: RunningStack, group: SentinelGroup) -> Iterator[Fleet]:
    with running_fleet(clean, group.master, group.url) as it:
        yield it


@long_form
def test_our_producer_and_workers_go_on_with_the_new_master(
    fleet: Fleet, group: SentinelGroup, account: str, ledger: Ledger, dice: random.Random
) -> None:
    """The old master comes back as a replica: without one, nothing that is published would be confirmed."""
    fleet.start_together("w1", "w2")
    flow = Load(
        to_lanes(fleet.environment["HEADRACE_BROKER_URL"], account), ledger, "m", dice, conversations=50, batch=20, every=0.05
    )
    flow.start()
    eventually("it works", lambda: stored() > 200)
    fleet.broker.kill()
    eventually("the replica is the master", lambda: group.replica.client.info("replication")["role"] == "master", within=30)
    fleet.broker.start()
    before = len(ledger)
    eventually("publishing goes on", lambda: len(ledger) > before + 200, within=60)
    flow.stop()
    ledger.settle(group.replica.client, within=60)
    fleet.assert_alive()
    show("8", "Sentinel failover under load", injections=1, messages=len(ledger), seconds=slowest_seconds())
