"""What the transport survives: kills, pauses, a full, restarted or silent Redis. Ids are counted, never log lines.

HEADRACE_CHAOS_ROUNDS multiplies the injections (default 1, the short form).
"""

import os
import random
import signal
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from threading import Event, Thread
from typing import Any

import pytest
import redis
from celery import Celery

from shared.broker import keys
from tests.broker_worker import ROOT, Worker
from tests.redis_server import EMBEDDED, RedisServer, running
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")

ROUNDS = int(os.environ.get("HEADRACE_CHAOS_ROUNDS", "1"))
LEASE_SECONDS = 2
RECOVERY_SECONDS = 30


class Consumer:
    """A consumer in a process of its own: one thread, as the parent of a worker is; its effect is a line in another Redis."""

    def __init__(self, url: str, effects: str, directory: Path, *queues: str, seconds: float = 0) -> None:
        self.log = directory / f"consumer-{random.randbytes(4).hex()}.log"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.broker_consumer", url, effects, str(LEASE_SECONDS), str(seconds), *queues],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT)},
                stdout=log,
                stderr=log,
            )
        eventually("the consumer is ready", self._ready, within=30)

    def _ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return "ready" in self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        self.process.send_signal(number)

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()


@pytest.fixture
def effects(tmp_path: Path) -> Iterator[RedisServer]:
    """A second server, that no fault reaches: what happened."""
    (tmp_path / "effects").mkdir()
    with running(EMBEDDED, tmp_path / "effects") as server:
        yield server


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[RedisServer]:
    (tmp_path / "broker").mkdir()
    with running(EMBEDDED, tmp_path / "broker", "--appendonly", "yes", "--appendfsync", "always") as server:
        yield server


@pytest.fixture
def consume(broker: RedisServer, effects: RedisServer, tmp_path: Path) -> Iterator[Callable[..., Consumer]]:
    consumers: list[Consumer] = []

    def consume(*queues: str, url: str = "", seconds: float = 0) -> Consumer:
        consumers.append(Consumer(url or broker.url, effects.url, tmp_path, *queues, seconds=seconds))
        return consumers[-1]

    yield consume
    for consumer in consumers:
        consumer.kill()


def payload(body: str) -> str:
    return '{"body": "%s", "headers": {}, "content-type": "text/plain", "content-encoding": "utf-8", "properties": {}}' % body  # noqa: UP031


def publish(client: redis.Redis, name: str, *bodies: str) -> None:
    client.lpush(name, *map(payload, bodies))


def effects_of(server: RedisServer) -> list[str]:
    return [body.decode() for body in server.client.lrange("effects", 0, -1)]


def goes_on(broker: RedisServer, effects: RedisServer, more: int, within: float) -> None:
    """Wait for so many effects more, or the end of the work."""
    before = len(effects_of(effects))
    eventually("it works", lambda: len(effects_of(effects)) > before + more or settled(broker.client), within=within)


def in_order(bodies: list[str]) -> bool:
    """Whether each message's first effect came in its turn."""
    first = list(dict.fromkeys(bodies))
    return first == sorted(first)


def handled(broker: RedisServer, effects: RedisServer, sent: list[str]) -> bool:
    """Whether every message had its effect and nothing is left."""
    return set(effects_of(effects)) == set(sent) and settled(broker.client)


def settled(client: redis.Redis) -> bool:
    """Whether nothing waits and nothing is claimed."""
    return not client.exists("messages.00", "messages.01", "work", keys.HELD) and not client.keys(keys.CLAIMS + "*")


def test_a_kill_in_the_pop_window_loses_nothing(
    consume: Callable[..., Consumer], broker: RedisServer, effects: RedisServer
) -> None:
    survivor = consume("messages.00", "messages.01")
    sent: list[str] = []
    for round_number in range(3 * ROUNDS):
        victim = consume("messages.00", "messages.01")
        victim.signal(signal.SIGSTOP)
        for lane in ("messages.00", "messages.01"):
            bodies = [f"{lane}:{round_number:04d}:{number}" for number in range(5)]
            publish(broker.client, lane, *bodies)
            sent += bodies
        if round_number % 2:
            victim.signal(signal.SIGCONT)
        victim.kill()
    eventually("all are handled", lambda: handled(broker, effects, sent), within=RECOVERY_SECONDS)
    for lane in ("messages.00", "messages.01"):
        assert in_order([body for body in effects_of(effects) if body.startswith(lane)])
    assert survivor.process.poll() is None


def test_a_killed_consumers_lane_goes_on_in_order(
    consume: Callable[..., Consumer], broker: RedisServer, effects: RedisServer
) -> None:
    sent = [f"{number:05d}" for number in range(300)]
    publish(broker.client, "messages.00", *sent)
    for _ in range(2 * ROUNDS):
        victim = consume("messages.00", seconds=0.01)
        goes_on(broker, effects, 5, within=RECOVERY_SECONDS)
        victim.kill()
    consume("messages.00")
    eventually("all are handled", lambda: handled(broker, effects, sent), within=RECOVERY_SECONDS)
    assert in_order(effects_of(effects))


def test_a_consumer_paused_past_its_lease_settles_nothing_afterwards(
    consume: Callable[..., Consumer], broker: RedisServer, effects: RedisServer
) -> None:
    paused = consume("messages.00", seconds=0.05)
    sent = [f"{number:05d}" for number in range(40)]
    publish(broker.client, "messages.00", *sent)
    eventually("it works", lambda: len(effects_of(effects)) >= 3)
    paused.signal(signal.SIGSTOP)
    other = consume("messages.00", seconds=0.05)
    eventually("another took over", lambda: len(effects_of(effects)) >= 10, within=RECOVERY_SECONDS)
    paused.signal(signal.SIGCONT)
    eventually("all are handled", lambda: handled(broker, effects, sent), within=RECOVERY_SECONDS)
    assert in_order(effects_of(effects))
    eventually("it noticed, and joined anew", lambda: "LeaseLost" in paused.log.read_text())
    assert other.process.poll() is None


def test_a_killed_and_restarted_redis_loses_nothing(
    consume: Callable[..., Consumer], broker: RedisServer, effects: RedisServer
) -> None:
    consume("messages.00", seconds=0.005)
    sent = [f"{number:05d}" for number in range(400)]
    publish(broker.client, "messages.00", *sent)
    for _ in range(2 * ROUNDS):
        goes_on(broker, effects, 20, within=15)
        broker.kill()
        broker.start()
    eventually("all are handled", lambda: handled(broker, effects, sent), within=RECOVERY_SECONDS)
    assert in_order(effects_of(effects))


def test_a_full_redis_is_drained_and_leases_hold(
    consume: Callable[..., Consumer], broker: RedisServer, effects: RedisServer
) -> None:
    sent = [f"{number:05d}" for number in range(200)]
    publish(broker.client, "messages.00", *sent)
    holder = consume("messages.00", "work", seconds=0.03)
    watcher = consume("messages.00", "work", seconds=0.03)
    eventually("it works", lambda: len(effects_of(effects)) >= 5)
    broker.client.config_set("maxmemory", "1")
    with pytest.raises(redis.ResponseError):
        publish(broker.client, "work", "refused")
    eventually("all are handled", lambda: handled(broker, effects, sent), within=RECOVERY_SECONDS)
    assert effects_of(effects) == sent, "once each: no lease was lost in six seconds of a lease of two"
    broker.client.config_set("maxmemory", "0")
    publish(broker.client, "work", "after")
    eventually("it goes on", lambda: "after" in effects_of(effects))
    assert (holder.process.poll(), watcher.process.poll()) == (None, None)


def test_a_consumer_that_starts_while_redis_is_full_drains_it(
    consume: Callable[..., Consumer], broker: RedisServer, effects: RedisServer
) -> None:
    sent = [f"{number:05d}" for number in range(50)]
    publish(broker.client, "messages.00", *sent)
    broker.client.config_set("maxmemory", "1")
    victim = consume("messages.00", seconds=0.01)
    eventually("it works", lambda: len(effects_of(effects)) >= 5)
    victim.kill()
    consume("messages.00")
    eventually("all are handled", lambda: handled(broker, effects, sent), within=RECOVERY_SECONDS)


class Proxy:
    """Passes bytes between clients and a server until it is told to fall silent; connections stay open."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.silent, self._sockets = Event(), []
        Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self._listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self._target))
            # A connection made after the silence works: the way is new.
            old = self.silent if not self.silent.is_set() else Event()
            self._sockets += [client, server]
            for source, sink in ((client, server), (server, client)):
                Thread(target=self._pass, args=(source, sink, old), daemon=True).start()

    @staticmethod
    def _pass(source: socket.socket, sink: socket.socket, silent: Event) -> None:
        try:
            while data := source.recv(65536):
                if not silent.is_set():
                    sink.sendall(data)
        except OSError:
            return

    def close(self) -> None:
        for one in (self._listener, *self._sockets):
            one.close()


def test_a_half_open_connection_is_replaced(consume: Callable[..., Consumer], broker: RedisServer, effects: RedisServer) -> None:
    proxy: Any = Proxy(broker.port)
    try:
        consume("messages.00", url=f"redis://127.0.0.1:{proxy.port}/0")
        publish(broker.client, "messages.00", "before")
        eventually("it works", lambda: effects_of(effects) == ["before"])
        proxy.silent.set()
        publish(broker.client, "messages.00", "after")
        eventually("it works again", lambda: "after" in effects_of(effects) and settled(broker.client), within=60)
    finally:
        proxy.close()


@pytest.mark.skipif(ROUNDS == 1, reason="half a minute: in the long form only")
def test_a_celery_worker_behind_a_half_open_connection_comes_back(broker: RedisServer, tmp_path: Path) -> None:
    proxy: Any = Proxy(broker.port)
    producer, notes = Celery(broker=broker.url), redis.Redis(port=broker.port, db=1, socket_timeout=5)
    worker = None
    try:
        worker = Worker(f"redis://127.0.0.1:{proxy.port}/0", tmp_path, "halfopen", "-c", "2", "-E")
        producer.send_task("note", args=[1], queue="work")
        eventually("it works", lambda: notes.llen("done") == 1)
        proxy.silent.set()
        producer.send_task("note", args=[2], queue="work")
        eventually("it works again", lambda: b"2" in notes.lrange("done", 0, -1), within=60)
        eventually("all is settled", lambda: settled(broker.client))
        assert worker.process.poll() is None
    finally:
        if worker is not None:
            worker.end()
        proxy.close()
