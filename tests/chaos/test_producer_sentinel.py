"""Producing through Sentinel: what counts as confirmed, and what a failover does to it."""

import json
import signal

import pytest

from shared.errors import BrokerUnavailable
from shared.producer import Producer
from tests.chaos.test_broker_sentinel import group  # noqa: F401
from tests.redis_server import EMBEDDED, RedisServer
from tests.sentinel import SentinelGroup
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")

OWN = "maintenance.note"


def numbers(server: RedisServer) -> list[int]:
    return [json.loads(json.loads(each)["body"])[0][0] for each in reversed(server.client.lrange("maintenance", 0, -1))]


def test_what_no_replica_has_is_not_confirmed(group: SentinelGroup) -> None:  # noqa: F811
    producer = Producer(group.url, timeout=2)
    producer.enqueue(OWN, 1)
    assert numbers(group.replica) == [1]
    group.replica.process.send_signal(signal.SIGSTOP)
    with pytest.raises(BrokerUnavailable, match="no replica confirmed in 1000 ms"):
        producer.enqueue(OWN, 2)
    group.replica.process.send_signal(signal.SIGCONT)
    producer.enqueue(OWN, 2)
    assert set(numbers(group.replica)) == {1, 2}


def test_a_failover_loses_nothing_that_was_confirmed(group: SentinelGroup) -> None:  # noqa: F811
    producer = Producer(group.url, timeout=2)
    for number in range(200):
        producer.enqueue(OWN, number)
    group.master.kill()

    def confirms() -> bool:
        try:
            producer.enqueue(OWN, 200)
        except BrokerUnavailable:
            return False
        return True

    assert not confirms()
    eventually("the replica is the master", lambda: group.replica.client.info("replication")["role"] == "master", within=30)
    group.master.start()
    eventually("the new master confirms", confirms, within=60, every=0.5)
    assert list(dict.fromkeys(numbers(group.replica))) == list(range(201))
