"""Flower behind its password, opened in a real browser."""

import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import psutil
import pytest
from pytest_celery import CeleryTestWorker

from tests.conftest import RunningStack
from tests.foreground import Foreground, foreground, status
from tests.waiting import eventually
from workers.local import ports

PASSWORD = "for-this-test-only"
CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
QUIET = (
    "--headless",
    "--no-sandbox",  # as root it would not start otherwise
    "--disable-gpu",
    "--disable-quic",
    "--disable-dev-shm-usage",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


@pytest.fixture
def flower(clean: RunningStack) -> Iterator[tuple[Foreground, str]]:
    """A running Flower and its host and port."""
    place = f"127.0.0.1:{(port := ports.choose(0))}"
    environment = {"HEADRACE_FLOWER_PORT": str(port), "HEADRACE_FLOWER_PASSWORD": PASSWORD}
    with foreground("flower", {**clean.environment, **environment}) as process:
        eventually("Flower serves", lambda: process.answers(f"http://{place}/healthcheck"), within=60)
        yield process, place


def rendered(place: str, profile: Path) -> str:
    """The page as a browser shows it, scripts run."""
    assert CHROMIUM
    url = f"http://headrace:{PASSWORD}@{place}/workers"
    command = [CHROMIUM, *QUIET, f"--user-data-dir={profile}", "--virtual-time-budget=5000", "--dump-dom", url]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout


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
def test_a_browser_sees_the_workers_in_flower(
    flower: tuple[Foreground, str], start_worker: Callable[..., CeleryTestWorker], tmp_path: Path
) -> None:
    _, place = flower
    start_worker("seen-by-flower")
    pages = iter(range(1_000))

    def worker_is_shown() -> bool:
        page = rendered(place, tmp_path / f"profile-{next(pages)}")
        assert "Flower</title>" in page, page[:500]
        return re.search(r"seen-by-flower@\S+", page) is not None

    eventually("the worker is on the dashboard", worker_is_shown, within=60, every=1)
