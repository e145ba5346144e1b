"""A stock Celery worker, with stock tasks and stock producers, on the transport."""

import json
import os
import signal
import subprocess
import sys
import time
from base64 import b64decode
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from celery import Celery

from shared.broker import keys
from tests.broker_worker import ROOT, Worker
from tests.redis_server import EMBEDDED, RedisServer, running
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")
StartWorker = Callable[..., Worker]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    with running(EMBEDDED, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> redis.Redis:
    server.client.flushall()
    return server.client


@pytest.fixture
def notes(server: RedisServer, client: redis.Redis) -> redis.Redis:
    return redis.Redis(port=server.port, db=1, decode_responses=True)


@pytest.fixture
def start(server: RedisServer, client: redis.Redis, tmp_path: Path) -> Iterator[StartWorker]:
    started: list[Worker] = []

    def start(name: str, *arguments: str, **environment: str) -> Worker:
        started.append(Worker(server.url, tmp_path, name, "-c", "2", *arguments, **environment))
        return started[-1]

    yield start
    for worker in started:
        worker.end()


@pytest.fixture
def producer(server: RedisServer) -> Celery:
    return Celery(broker=server.url)


def done(notes: redis.Redis) -> list[int]:
    return [int(value) for value in notes.lrange("done", 0, -1)]


def send(producer: Celery, *values: int, seconds: float = 0, **options: object) -> None:
    for value in values:
        producer.send_task("note", args=[value, seconds], queue="work", **options)


def waiting(client: redis.Redis, name: str = "work") -> list[int]:
    """The values of the tasks in a list, the next first."""
    payloads = [json.loads(payload) for payload in reversed(client.lrange(name, 0, -1))]
    return [json.loads(b64decode(payload["body"]))[0][0] for payload in payloads]


def message(number: int, conversation: str) -> dict[str, str]:
    return {"account_id": "acme", "conversation_id": conversation, "message_id": f"{number:05d}"}


def test_celery_and_its_remote_control_work_as_ever(
    server: RedisServer, start: StartWorker, client: redis.Redis, notes: redis.Redis
) -> None:
    worker = start("control")
    script = (
        "import json; from tests.broker_app import app, note_task\n"
        "[note_task.delay(value) for value in range(30)]\n"
        "inspect, grow = app.control.inspect(timeout=2), {'n': 1}\n"
        "grown = app.control.broadcast('pool_grow', arguments=grow, reply=True, timeout=2)\n"
        "print(json.dumps([inspect.active_queues(), inspect.reserved(), inspect.stats(), grown]))\n"
    )
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "BROKER_APP_URL": server.url}
    command = [sys.executable, "-c", script]
    ran = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, timeout=60, check=True)
    queues, reserved, stats, grown = json.loads(ran.stdout)
    assert {"work", "messages", "messages.03"} <= {queue["name"] for queue in queues[worker.node]}
    assert worker.node in reserved
    assert stats[worker.node]["prefetch_count"] == 150
    assert grown == [{worker.node: {"ok": "pool will grow"}}]
    eventually("all tasks are done", lambda: sorted(done(notes)) == list(range(30)))
    eventually("all are settled", lambda: not client.keys(keys.CLAIMS + "*"))
    assert client.zcard(keys.CONSUMERS) == 1, "the command line's consumers have left"


def test_a_countdown_waits_in_redis_not_in_the_worker(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    start("delayed")
    send(producer, 1, countdown=2)
    eventually("it is held in Redis", lambda: client.zcard(keys.DELAYED) == 1)
    assert not client.keys(keys.CLAIMS + "*")
    eventually("it ran", lambda: done(notes) == [1], within=5)


def test_a_warm_shutdown_finishes_what_runs_and_returns_the_rest_in_order(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    worker = start("warm")
    send(producer, *range(60), seconds=0.2)
    eventually("some are done", lambda: len(done(notes)) >= 4)
    assert worker.stop() == 0
    finished = done(notes)
    assert sorted(finished) == list(range(len(finished)))
    assert waiting(client) == list(range(len(finished), 60))
    assert not client.exists(keys.CONSUMERS, keys.DEATHS), "it left, and nothing counts as a death"


def test_a_task_longer_than_the_lease_survives_a_warm_shutdown(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    worker, other = start("stopping"), None
    send(producer, 1, seconds=5)
    eventually("it runs", lambda: notes.llen("started") == 1)
    worker.process.terminate()
    other = start("other")
    assert worker.process.wait(20) == 0
    assert other.stop() == 0
    assert (notes.llen("started"), done(notes)) == (1, [1])


def test_a_cold_shutdown_returns_all_at_once(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    worker = start("cold")
    send(producer, *range(10), seconds=30)
    eventually("two run", lambda: notes.llen("started") == 2)
    worker.process.send_signal(signal.SIGQUIT)
    worker.process.wait(20)
    assert waiting(client) == list(range(10))


def test_a_task_of_four_leases_is_delivered_once(start: StartWorker, producer: Celery, notes: redis.Redis) -> None:
    start("long"), start("idle")
    send(producer, 1, seconds=8)
    eventually("it is done", lambda: done(notes) == [1], within=20)
    assert notes.llen("started") == 1


def test_tasks_that_together_run_for_two_leases_inside_of_the_event_loop_are_delivered_once(
    start: StartWorker, producer: Celery, notes: redis.Redis
) -> None:
    send(producer, *range(40), seconds=0.1)
    start("working", "--pool", "solo"), start("idle", "--pool", "solo")
    eventually("all are done", lambda: set(done(notes)) == set(range(40)), within=20)
    assert notes.llen("started") == 40


def test_replaced_children_do_not_deafen_the_worker(start: StartWorker, producer: Celery, notes: redis.Redis) -> None:
    start("replaced", "--max-tasks-per-child", "1")
    for value in range(6):
        send(producer, value)
        eventually(f"task {value} is done", lambda value=value: value in done(notes), within=10)


def test_plain_messages_are_forwarded_to_their_lanes_in_order(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    conversations = [f"c{number}" for number in range(6)]
    for number in range(120):
        argument = message(number, conversations[number % 6])
        producer.send_task("messages.store", args=[argument], queue="messages", priority=5 if number < 6 else 0)
    workers = [start("one", "--pool", "solo"), start("two", "--pool", "solo")]
    eventually("all are stored", lambda: notes.llen("stored") >= 120, within=20)
    assert notes.llen("stored") == 120
    for conversation in conversations:
        stored = [number for number in notes.lrange(f"stored:{conversation}", 0, -1) if int(number) >= 6]
        assert stored == sorted(stored)
    assert [worker.stop() for worker in workers] == [0, 0]
    assert not client.exists(keys.HELD, "messages")


def test_what_stock_celery_would_drop_is_set_aside(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    start("refusing")
    client.lpush("messages", b"\xff garbage", b"[1]", b'{"properties": 1}')
    producer.send_task("unknown", queue="messages")
    producer.send_task("unknown", queue="work")
    client.lpush("work", b"garbage", b'{"properties": {}, "headers": {"task": "note"}, "body": 1}')
    producer.send_task("messages.store", args=[message(1, "c")], queue="messages")
    send(producer, 7)
    eventually("the good ones are done", lambda: (notes.llen("stored"), done(notes)) == (1, [7]))
    eventually("four are kept", lambda: client.llen(keys.REFUSED + "messages") == 4)
    eventually("three are kept, one of them of an unknown task", lambda: client.llen(keys.REFUSED + "work") == 3)
    eventually("nothing is left claimed", lambda: not client.keys(keys.CLAIMS + "*"))


def test_a_worker_that_starts_while_redis_is_full_drains_it(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    for _ in range(30):
        producer.send_task("unknown", queue="work")  # a known one could not note that it ran
    client.config_set("maxmemory", "1")
    try:
        worker = start("full")
        eventually("all are settled", lambda: client.llen("work") == 0 and client.llen(keys.REFUSED + "work") == 30)
        assert worker.stop() == 0
    finally:
        client.config_set("maxmemory", "0")
    assert not client.exists(keys.CONSUMERS)


def test_an_idle_worker_is_idle_and_awake(start: StartWorker, producer: Celery, notes: redis.Redis) -> None:
    process = psutil.Process(start("idle").process.pid)
    send(producer, 0)
    eventually("it works", lambda: done(notes) == [0])
    before, since = process.cpu_times(), time.monotonic()
    eventually("four seconds passed", lambda: time.monotonic() - since > 4)
    used = sum(process.cpu_times()[:2]) - sum(before[:2])
    assert used / (time.monotonic() - since) < 0.02, "1 % of a core, and the clock's coarseness"
    waits = []
    for number in range(20):
        eventually("idle again", lambda number=number: notes.llen("stored") == number)
        sent = time.monotonic()
        producer.send_task("messages.store", args=[message(number, "c")], queue="messages")
        while notes.llen("stored") == number:
            assert time.monotonic() - sent < 5
        waits.append(time.monotonic() - sent)
    assert sorted(waits)[10] < 0.2, f"a plain message at an idle worker took {sorted(waits)}"


def test_a_worker_comes_back_after_its_connections_are_cut(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    worker = start("cut")
    for turn in range(3):
        send(producer, *range(10 * turn, 10 * turn + 10), seconds=0.05)
        eventually("some run", lambda turn=turn: notes.llen("started") > 10 * turn)
        for connection in client.client_list():
            if int(connection["id"]) != client.client_id():
                client.client_kill_filter(_id=connection["id"])
        eventually("all are done", lambda turn=turn: set(done(notes)) == set(range(10 * turn + 10)), within=20)
    eventually("all are settled", lambda: not client.keys(keys.CLAIMS + "*"))
    assert client.zcard(keys.CONSUMERS) == 1
    assert not client.exists(keys.DEATHS), "a lost connection is no death"
    assert worker.stop() == 0


def test_tasks_of_a_killed_worker_run_again(
    start: StartWorker, producer: Celery, client: redis.Redis, notes: redis.Redis
) -> None:
    victim, _ = start("victim"), start("survivor")
    send(producer, *range(40), seconds=0.1)
    eventually("they work", lambda: len(done(notes)) > 5)
    victim.signal(signal.SIGKILL)
    eventually("all are done", lambda: set(done(notes)) == set(range(40)), within=30)
    eventually("all are settled", lambda: not client.keys(keys.CLAIMS + "*") and not client.exists(keys.DEATHS))
