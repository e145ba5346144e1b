"""Beat: a tick is sent once and has its effect once; an outage is waited for. Kills and pauses: tests/chaos/test_beats.py."""

import json
from collections.abc import Iterator

import pytest
import redis

from shared.broker.script import TICK
from shared.schedule import SCHEDULE, Entry, tick_id
from shared.topology import MAINTENANCE
from tasks.tick import begin
from tests.beat_process import beats, dues
from tests.conftest import RunningStack
from tests.foreground import foreground
from tests.redis_server import EMBEDDED, RedisServer, running
from tests.waiting import eventually
from workers.beat import Beat

PERIOD_SECONDS = 0.1
TASK = "test.tick"


@pytest.fixture
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A broker of the test's own."""
    with running(EMBEDDED, tmp_path_factory.mktemp("broker")) as it:
        yield it


def test_a_tick_delivered_again_has_no_second_effect_and_one_overtaken_has_none(server: RedisServer) -> None:
    entry, broker = Entry(TASK, PERIOD_SECONDS), server.client
    now = now_ms(broker)
    first, second = entry.due_ms(now - 1_000), entry.due_ms(now)
    assert send(broker, entry, first)
    assert [begin(broker, TASK, first) for _ in range(3)] == ["run", "repeated", "repeated"]
    assert send(broker, entry, second)
    assert begin(broker, TASK, first) == "overtaken"
    assert [begin(broker, TASK, second) for _ in range(2)] == ["run", "repeated"]


def test_a_tick_is_sent_once_and_never_before_its_time_or_after_a_later_one(server: RedisServer) -> None:
    entry, broker = Entry(TASK, 60), server.client
    now = now_ms(broker)
    due = entry.due_ms(now)
    assert not send(broker, entry, due + entry.period_ms)
    assert send(broker, entry, due)
    assert not send(broker, entry, due)
    assert not send(broker, entry, due - entry.period_ms)
    assert dues(broker) == [due]


def test_a_mark_from_a_server_whose_clock_was_ahead_stops_nothing(server: RedisServer) -> None:
    entry, broker = Entry(TASK, 60), server.client
    due = entry.due_ms(now_ms(broker))
    broker.hset("headrace:ticks:sent", TASK, due + 2 * 3600 * 1000)
    broker.hset("headrace:ticks:begun", TASK, due + 2 * 3600 * 1000)
    assert send(broker, entry, due)
    assert begin(broker, TASK, due) == "run"


def test_an_outage_of_the_broker_is_waited_for_and_costs_no_old_ticks(server: RedisServer) -> None:
    broker = server.client
    with beats(server.url, TASK, PERIOD_SECONDS, 1):
        eventually("a tick is sent", lambda: broker.llen(MAINTENANCE) > 0, within=30)
        server.kill()
        server.start()
        sent = eventually("ticks go on", lambda: dues(broker), within=30)
    assert sent[0] >= now_ms(broker) - 60_000


def test_the_first_tick_of_a_new_fleet_comes_at_once(server: RedisServer) -> None:
    pause = Beat(server.client, SCHEDULE).look()
    assert 0 < pause <= 10.01
    payloads = [json.loads(payload) for payload in reversed(server.client.lrange(MAINTENANCE, 0, -1))]
    assert [payload["headers"]["task"] for payload in payloads] == ["cache.warm", "store.prune"]
    for payload in payloads:
        (due_ms,) = json.loads(payload["body"])[0]
        assert payload["headers"]["id"] == tick_id(payload["headers"]["task"], due_ms)


def test_beat_in_the_foreground_sends_the_schedule_and_ends_at_once(clean: RunningStack) -> None:
    with redis.Redis.from_url(clean.broker_url) as broker, foreground("beat", clean.environment) as beat:
        eventually("a tick is sent", lambda: broker.llen(MAINTENANCE) > 0, within=30)
        assert "beat runs" in beat.log
        assert beat.stop(within=5) == 0


def send(broker: redis.Redis, entry: Entry, due_ms: int) -> bool:
    return bool(
        TICK.run(broker, (entry.task, due_ms, entry.period_ms, MAINTENANCE, json.dumps({"body": json.dumps([[due_ms]])})))
    )


def now_ms(broker: redis.Redis) -> int:
    seconds, micros = broker.time()
    return int(seconds) * 1000 + int(micros) // 1000
