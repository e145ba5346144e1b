"""Flower behind its password, opened in a real browser."""

import re
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
import redis
from pytest_celery import CeleryTestWorker

from shared.broker.claims import Claims
from shared.producer import Producer
from tests.browser import CHROMIUM, Browser
from tests.conftest import RunningStack
from tests.factory import count, message, new_account, queued
from tests.foreground import Foreground, foreground, status
from tests.waiting import eventually
from workers.local import ports

PASSWORD = "for-this-test-only"


@pytest.fixture
def flower(clean: RunningStack) -> Iterator[tuple[Foreground, str]]:
    """A running Flower and its host and port."""
    place = f"127.0.0.1:{(port := ports.choose(0))}"
    environment = {"HEADRACE_FLOWER_PORT": str(port), "HEADRACE_FLOWER_PASSWORD": PASSWORD}
    with foreground("flower", {**clean.environment, **environment}) as process:
        eventually("Flower serves", lambda: process.answers(f"http://{place}/healthcheck"), within=60)
        yield process, place


def test_flower_wants_the_password_everywhere_but_for_its_health_and_metrics(flower: tuple[Foreground, str]) -> None:
    process, place = flower
    for path in ("/", "/workers", "/tasks", "/broker", "/api/workers", "/api/tasks"):
        assert status(f"http://{place}{path}") == 401, path
        assert status(f"http://{place}{path}", "headrace", "wrong") == 401, path
    for path in ("/", "/workers", "/api/workers"):
        assert status(f"http://{place}{path}", "headrace", PASSWORD) == 200, path
    assert status(f"http://{place}/metrics") == 200
    assert not any(PASSWORD in word for word in psutil.Process(process.process.pid).cmdline())
    assert PASSWORD not in process.log
    assert process.stop(within=5) == 0


def test_flower_does_not_start_without_a_password(clean: RunningStack) -> None:
    with foreground("flower", {**clean.environment, "HEADRACE_FLOWER_PASSWORD": ""}) as process:
        assert process.process.wait(30) == 1
        assert "set HEADRACE_FLOWER_PASSWORD" in process.log
        assert process.log.count("\n") == 1


@pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH: install the package `chromium` to open Flower in a browser")
def test_a_browser_sees_workers_a_processed_batch_and_the_queues_with_their_lengths_in_flower(
    clean: RunningStack,
    flower: tuple[Foreground, str],
    producer: Producer,
    start_worker: Callable[..., CeleryTestWorker],
    tmp_path: Path,
) -> None:
    _, place = flower
    browser = Browser(place, PASSWORD, tmp_path)
    start_worker("seen-by-flower")
    eventually(
        "the worker is on the dashboard",
        lambda: re.search(r"seen-by-flower@\S+", browser.text("workers")) is not None,
        within=60,
        every=1,
    )
    account = new_account()
    producer.publish([queued(account, message("m-1")), queued(account, message("m-2"))])
    eventually("they are stored", lambda: count("SELECT count(*) FROM messages") == 2)
    eventually("the batch is listed", lambda: "messages.store" in browser.text("tasks"), within=60, every=1)
    tasks = browser.text("tasks")
    assert "SUCCESS" in tasks
    found = re.search(r'href="/(task/[-0-9a-f]{36})"', tasks)
    assert found
    batch = browser.text(found[1])
    assert "messages of messages)" in batch  # its size and its kind
    assert "done" in batch
    assert "text of m-1" not in tasks + batch

    with redis.Redis.from_url(clean.broker_url) as broker:
        Claims(broker).pause(["messages.07"])
        broker.lpush("messages.07", *(f"waits {number}" for number in range(17)))
    row = re.compile(r"messages\.07\s*</td>\s*<td[^>]*>\s*17\s*<")
    eventually("the lane and its length are listed", lambda: row.search(browser.text("broker")) is not None, within=60, every=1)

    picture = tmp_path / "flower.png"
    browser.picture("workers", picture)
    assert picture.read_bytes().startswith(b"\x89PNG")
    assert picture.stat().st_size > 10_000
