"""Every panel and every alert, asked of the real Prometheus over a loaded fleet: a query that returns nothing shows nothing."""

import json
import subprocess
import sys
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.integration.test_up_down import Fleet, environment, new_fleet
from tests.prometheus import BINARY, ROOT, Prometheus, Query, answering, panels, watching
from tests.waiting import eventually

NOT_YET: dict[str, str] = {}
"""A metric that no process counts yet -> the day on which that was so; its queries are not asked, and each run says so."""

LOAD_SECONDS = 12
RATE = 40


def test_the_dashboards_are_as_their_description_says() -> None:
    ended = subprocess.run(
        [sys.executable, str(ROOT / "deploy" / "grafana" / "generate.py"), "--check"], capture_output=True, text=True, check=False
    )
    assert ended.returncode == 0, ended.stderr


def test_every_dashboard_is_there_and_names_each_panel_once() -> None:
    boards = {path.stem: json.loads(path.read_text()) for path in (ROOT / "deploy" / "grafana" / "dashboards").glob("*.json")}
    assert boards.keys() == {"overview", "ingress", "queues", "database", "cache", "workers", "capacity"}
    for board in boards.values():
        titles = [panel["title"] for panel in board["panels"]]
        assert len(titles) == len(set(titles)), board["title"]
        assert len({panel["id"] for panel in board["panels"]}) == len(titles)


@pytest.fixture(scope="module")
def fleet(reachable_dir: Path) -> Iterator[Fleet]:
    """A running fleet."""
    for it in new_fleet(reachable_dir, "watched"):
        ended = it.up()
        assert ended.returncode == 0, ended.stderr
        yield it


@pytest.fixture(scope="module")
def prometheus(fleet: Fleet) -> Iterator[Prometheus]:
    """Over the fleet, which is under load by every way in."""
    with watching(fleet.port + 1, fleet.port) as it:
        options = ("--rate", str(RATE), "--duration", str(LOAD_SECONDS))
        words = ["load", "run", *options]
        here = environment({"HEADRACE_DATA_DIR": str(fleet.data_dir)})
        loads = [
            subprocess.Popen(
                [sys.executable, "-m", "workers.cli.main", *words, "--via", via], env=here, stdout=subprocess.DEVNULL
            )
            for via in ("webhook", "api", "celery")
        ]
        read_pages(fleet)
        for load in loads:
            assert load.wait(120) == 0
        yield it


def read_pages(fleet: Fleet) -> None:
    key = json.loads((fleet.data_dir / "fleet.json").read_bytes())["demo"]["api_key"]
    for path in ("/v1/conversations", "/v1/stats"):
        url = f"http://127.0.0.1:{fleet.port}{path}"
        urllib.request.urlopen(urllib.request.Request(url, headers={"Authorization": f"Bearer {key}"}), timeout=10).close()


@pytest.mark.skipif(BINARY is None, reason="no prometheus on PATH: install the package `prometheus`")
def test_every_panel_and_every_alert_returns_data_under_load(prometheus: Prometheus) -> None:
    queries = panels() + [Query(name, answering(text)) for name, text in prometheus.alerts().items()]
    assert len(queries) > 100
    for metric, day in NOT_YET.items():
        sys.stdout.write(f"not asked: what reads {metric}, which nobody counted on {day}\n")
    asked = [query for query in queries if not any(metric in query.text for metric in NOT_YET)]

    def silent() -> list[Query]:
        return [query for query in asked if not prometheus.values(query.text)]

    try:
        eventually("every query returns data", lambda: not silent(), within=20, every=1)
    except AssertionError:
        pytest.fail("without data:\n" + "\n".join(f"{query.name}\n    {query.text}" for query in silent()))
    assert prometheus.broken() == []
