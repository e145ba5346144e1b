"""The exporter: what it serves, what it survives, how it ends."""

import math
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from prometheus_client.parser import text_string_to_metric_families
from sqlalchemy.exc import OperationalError

from shared.broker.claims import Claims
from shared.broker.keys import REFUSED
from shared.db.session import transact
from shared.metrics import exposition
from shared.producer import Producer
from shared.settings import Settings
from shared.store import dead_letters
from shared.store.dead_letters import Letter
from tests.conftest import RunningStack
from tests.factory import message, queued
from tests.foreground import foreground, status
from tests.redis_cluster import cluster
from tests.redis_server import EMBEDDED, running
from tests.sentinel import sentinel_group
from tests.waiting import eventually
from workers.exporter import database as module
from workers.exporter.all_sources import all_sources
from workers.exporter.loop import Exporter
from workers.local import ports

Samples = dict[tuple[str, str], float]


class Door:
    """The exporter's own way into the broker, which can be shut: a user that is deleted, its connections with it."""

    def __init__(self, broker: redis.Redis, broker_url: str) -> None:
        self._broker = broker
        self.url = broker_url.replace("://:", "://exporter:")
        self._password = urlsplit(broker_url).password

    def open(self) -> None:
        self._broker.acl_setuser("exporter", enabled=True, passwords=[f"+{self._password}"], keys=["*"], commands=["+@all"])

    def shut(self) -> None:
        self._broker.acl_deluser("exporter")


@pytest.fixture
def door(clean: RunningStack, broker: redis.Redis) -> Iterator[Door]:
    """An open door."""
    door = Door(broker, clean.broker_url)
    door.open()
    yield door
    door.shut()


def exporter_of(url: str) -> Exporter:
    """As `headrace exporter` makes it, but for its way into the broker."""
    return Exporter(all_sources(Settings(broker_url=url)))


def parsed(text: bytes) -> Samples:
    families = text_string_to_metric_families(text.decode())
    return {
        (sample.name, " ".join(sorted(sample.labels.values()))): sample.value for family in families for sample in family.samples
    }


def scraped(url: str) -> Samples:
    with urllib.request.urlopen(f"{url}/metrics", timeout=10) as answer:
        assert answer.headers["Content-Type"].startswith("text/plain")
        return parsed(answer.read())


def test_gauges_follow_what_waits_and_what_was_given_up_on(door: Door, producer: Producer) -> None:
    exporter = exporter_of(door.url)
    producer.publish([queued("a", message("m-1")), queued("a", message("m-2"))])
    letter = Letter("of.another.version", "webhooks.store", "t-1", None, None, "test", [], {}, b"")
    transact(lambda session: dead_letters.bury(session, [letter]))
    exporter.refresh()
    found = parsed(exposition())
    assert found["headrace_queue_depth", "messages"] == 2
    assert found["headrace_queue_oldest_age_seconds", "messages"] >= 0
    assert found["headrace_queue_in_flight", "messages"] == 0
    assert found["headrace_dead_letters", "of.another.version"] == 1
    assert found["headrace_dead_letters", "messages"] == 0
    transact(lambda session: dead_letters.remove(session, [1]))
    exporter.refresh()
    assert parsed(exposition())["headrace_dead_letters", "of.another.version"] == 0


def test_an_age_that_no_message_tells_is_counted_from_when_it_was_first_seen(
    door: Door, broker: redis.Redis, monkeypatch: pytest.MonkeyPatch
) -> None:
    exporter = exporter_of(door.url)
    now = 1_000.0
    monkeypatch.setattr("workers.queues.monotonic_seconds", lambda: now)
    broker.lpush("messages", "a stock client's", "another")
    exporter.refresh()
    assert parsed(exposition())["headrace_queue_oldest_age_seconds", "messages"] == 0
    now += 60
    broker.lpush("messages", "a third")
    exporter.refresh()
    assert parsed(exposition())["headrace_queue_oldest_age_seconds", "messages"] == 60
    broker.rpop("messages", 2)  # now what was seen at the second look is the oldest
    now += 5
    exporter.refresh()
    found = parsed(exposition())
    assert found["headrace_queue_oldest_age_seconds", "messages"] == 5
    assert found["headrace_queue_oldest_age_seconds", "webhooks"] == 0


def test_lanes_whose_consumer_is_gone_have_no_owner(door: Door, broker: redis.Redis) -> None:
    exporter, claims = exporter_of(door.url), Claims(broker)
    exporter.refresh()
    found = parsed(exposition())
    assert (found["headrace_consumers", ""], found["headrace_lanes_without_owner", "messages"]) == (0, 33)
    claims.join("one", 60_000, lanes=32, single_active=Settings().queues)
    exporter.refresh()
    found = parsed(exposition())
    assert (found["headrace_consumers", ""], found["headrace_lanes_without_owner", "messages"]) == (1, 0)
    claims.join("two", 1, lanes=32, single_active=Settings().queues)
    ends = broker.zscore("headrace:consumers", "two")

    def lease_is_over() -> bool:
        seconds, micros = broker.time()
        return seconds * 1000 + micros / 1000 > ends + 1

    eventually("the second one's lease is over", lease_is_over)
    exporter.refresh()
    found = parsed(exposition())
    assert found["headrace_consumers", ""] == 1
    assert found["headrace_lanes_without_owner", "webhooks"] == 16
    claims.reap()
    claims.reap()
    exporter.refresh()
    assert parsed(exposition())["headrace_lanes_without_owner", "webhooks"] == 0


def test_what_is_paused_set_aside_or_dangerous_is_shown(door: Door, broker: redis.Redis) -> None:
    exporter, claims = exporter_of(door.url), Claims(broker)
    claims.pause(["messages.03", "messages.04", "maintenance"])
    broker.rpush(REFUSED + "webhooks.01", "garbage")
    exporter.refresh()
    found = parsed(exposition())
    assert (found["headrace_queue_paused", "messages"], found["headrace_queue_paused", "maintenance"]) == (2, 1)
    assert found["headrace_refused_messages", "webhooks"] == 1
    assert found["headrace_redis_policy_ok", "appendfsync broker"] == 1
    assert found["headrace_redis_memory_max_bytes", "broker"] == 2**30
    assert 0 < found["headrace_redis_memory_bytes", "cache"] < found["headrace_redis_memory_max_bytes", "cache"]
    assert found["headrace_db_connections", "active"] >= 1
    assert found["headrace_db_connections_max", ""] > found["headrace_db_connections", "active"]
    try:
        broker.config_set("maxmemory-policy", "allkeys-lru")
        broker.config_set("appendfsync", "everysec")
        exporter.refresh()
    finally:
        broker.config_set("maxmemory-policy", "noeviction")
        broker.config_set("appendfsync", "always")
    found = parsed(exposition())
    assert found["headrace_redis_policy_ok", "broker maxmemory-policy"] == 0
    assert found["headrace_redis_policy_ok", "appendfsync broker"] == 0
    claims.resume(["messages.03"])
    exporter.refresh()
    found = parsed(exposition())
    assert found["headrace_queue_paused", "messages"] == 1
    assert found["headrace_redis_policy_ok", "broker maxmemory-policy"] == 1


def test_a_cache_that_is_a_cluster_is_shown_as_a_whole_and_as_away_when_it_is(
    door: Door, tmp_path_factory: pytest.TempPathFactory
) -> None:
    with cluster(EMBEDDED, tmp_path_factory.mktemp("cluster")) as nodes:
        exporter = Exporter(all_sources(Settings(broker_url=door.url, cache_url=nodes.url)))
        for node in nodes.masters:
            node.client.config_set("maxmemory", 2**26)
        exporter.refresh()
        found = parsed(exposition())
        assert found["headrace_exporter_up", "cache"] == 1
        assert found["headrace_redis_memory_max_bytes", "cache"] == len(nodes.masters) * 2**26
    exporter.refresh()
    late = Exporter(all_sources(Settings(broker_url=door.url, cache_url=nodes.url)))
    for each in (exporter, late):
        each.refresh()
        found = parsed(exposition())
        assert (found["headrace_exporter_up", "broker"], found["headrace_exporter_up", "cache"]) == (1, 0)
        assert math.isnan(found["headrace_redis_memory_bytes", "cache"])


def test_of_a_cache_behind_sentinels_that_watch_several_masters_its_own_is_asked(
    door: Door, tmp_path_factory: pytest.TempPathFactory
) -> None:
    own = ("--maxmemory", "50mb")
    with (
        sentinel_group(EMBEDDED, tmp_path_factory.mktemp("sentinel")) as group,
        running(EMBEDDED, tmp_path_factory.mktemp("cache"), *own) as cache,
    ):
        with redis.Redis(port=urlsplit(group.url).port) as sentinel:  # type: ignore[arg-type]
            sentinel.execute_command("SENTINEL", "MONITOR", "the-cache", "127.0.0.1", cache.port, 1)
        exporter = Exporter(all_sources(Settings(broker_url=door.url, cache_url=group.url, cache_master="the-cache")))
        exporter.refresh()
    assert parsed(exposition())["headrace_redis_memory_max_bytes", "cache"] == 50 * 2**20


def test_a_server_that_is_away_is_a_gap_and_not_an_old_value(door: Door, monkeypatch: pytest.MonkeyPatch) -> None:
    exporter = exporter_of(door.url)
    exporter.refresh()
    door.shut()
    exporter.refresh()
    found = parsed(exposition())
    assert math.isnan(found["headrace_queue_depth", "messages"])
    assert (found["headrace_exporter_up", "broker"], found["headrace_exporter_up", "database"]) == (0, 1)
    assert found["headrace_dead_letters", "messages"] == 0
    door.open()

    def refuse(**_: object) -> None:
        raise OperationalError("SELECT", {}, psycopg.OperationalError("refused"))

    with monkeypatch.context() as outage:
        outage.setattr(module, "read_session", refuse)
        exporter.refresh()
    found = parsed(exposition())
    assert math.isnan(found["headrace_dead_letters", "messages"])
    assert (found["headrace_exporter_up", "broker"], found["headrace_exporter_up", "database"]) == (1, 0)
    assert found["headrace_queue_depth", "messages"] == 0
    exporter.refresh()
    assert parsed(exposition())["headrace_dead_letters", "messages"] == 0


def test_the_exporter_serves_all_processes_counters_and_ends_at_once_on_sigterm(clean: RunningStack, tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{(port := ports.choose(0))}"
    environment = {**clean.environment, "HEADRACE_EXPORTER_PORT": str(port), "HEADRACE_METRICS_DIR": str(tmp_path)}
    count_one = "from shared.metrics import MESSAGES; MESSAGES.labels('messages', 'done').inc()"
    with foreground("exporter", environment) as exporter:
        eventually("the exporter is alive", lambda: exporter.answers(f"{url}/livez"), within=30)
        subprocess.run([sys.executable, "-c", count_one], env=environment, check=True, timeout=30)
        assert scraped(url)["headrace_messages_total", "done messages"] == 1
        eventually("it has asked the broker", lambda: scraped(url).get(("headrace_exporter_up", "broker")) == 1)
        assert status(f"{url}/nothing") == 404
        with foreground("exporter", environment) as second:
            assert second.process.wait(30) == 1
            assert "set HEADRACE_EXPORTER_PORT" in second.log
            assert second.log.count("\n") == 1
        assert exporter.stop(within=5) == 0
