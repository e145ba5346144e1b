"""`headrace ingress` as processes, one after the other on one port: what becomes of clients while it changes hands."""

import http.client
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

import pytest
import redis

from tests.conftest import RunningStack
from tests.foreground import Foreground, foreground
from tests.running_ingress import Ingress, running
from tests.waiting import eventually

SHARED = {"HEADRACE_INGRESS_SHARE_PORT": "1", "HEADRACE_LOOKUP_SECONDS": "60"}
SENDERS = 8


@pytest.fixture
def first(clean: RunningStack) -> Iterator[Ingress]:
    with ExitStack() as started:
        yield started.enter_context(running({**clean.environment, **SHARED}))


@contextmanager
def next_one(clean: RunningStack, port: int, ready: Path) -> Iterator[Foreground]:
    """Another on the same port, ready to take over."""
    environment = {**clean.environment, **SHARED, "HEADRACE_INGRESS_PORT": str(port), "HEADRACE_READY_FILE": str(ready)}
    with foreground("ingress", environment) as process:
        eventually("it is ready", lambda: process.process.poll() is None and ready.exists(), within=30)
        yield process


def test_a_client_that_stays_connected_is_answered_and_told_to_come_back_on_another_connection(first: Ingress) -> None:
    connection = http.client.HTTPConnection("127.0.0.1", first.port, timeout=10)
    connection.request("GET", "/livez")
    before = connection.getresponse()
    before.read()
    assert (before.status, before.getheader("connection")) == (200, None)
    first.process.process.terminate()
    eventually("it leaves", lambda: first.ready().status == 503, every=0.01)
    connection.request("GET", "/livez")
    after = connection.getresponse()
    after.read()
    assert (after.status, after.getheader("connection")) == (200, "close")
    connection.close()
    assert first.process.process.wait(10) == 0


def test_while_one_takes_over_from_another_no_request_on_a_new_connection_fails(
    first: Ingress, clean: RunningStack, broker: redis.Redis, tmp_path: Path
) -> None:
    """Three times, with senders who open a connection for each request and never repeat one."""
    over, failures, taken = threading.Event(), [], []

    def post(name: str) -> None:
        while not over.is_set():
            try:
                reply = first.webhook(f"{name}-{len(taken)}")
            except OSError as error:
                failures.append(repr(error))
                continue
            (taken if reply.status == 202 else failures).append(reply.status)

    senders = [threading.Thread(target=post, args=(f"s{number}",)) for number in range(SENDERS)]
    with ExitStack() as ending:
        ending.callback(over.set)
        for sender in senders:
            sender.start()
        old = first.process
        for number in range(3):
            new = ending.enter_context(next_one(clean, first.port, tmp_path / f"ready-{number}"))
            so_far = len(taken)
            old.process.terminate()
            assert old.process.wait(10) == 0, old.log
            eventually("the new one takes webhooks", lambda so_far=so_far: len(taken) > so_far + SENDERS, within=30)
            old = new
        over.set()
        for sender in senders:
            sender.join(20)
    assert failures == []
    assert sum(broker.llen(lane) for lane in broker.scan_iter("webhooks.*", _type="list")) == len(taken)
