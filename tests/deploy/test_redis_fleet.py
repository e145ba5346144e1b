"""A whole fleet with the users that we ship, on both servers: the log of refusals stays empty, so no right is missing."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import pytest
from celery import Celery

from shared.clock import monotonic_seconds, wall_seconds
from shared.redis_client import connect
from shared.settings import settings
from tests.chaos.ledger import Ledger
from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.deploy.redis_users import Shipped, shipped
from tests.factory import as_json, message, rows
from tests.foreground import foreground, status
from tests.nodes import ProcessContainer
from tests.redis_server import DEBIAN
from tests.running_ingress import running
from tests.waiting import eventually
from workers.autoscaler import sample
from workers.local.ports import choose

pytestmark = pytest.mark.skipif(not DEBIAN, reason="no redis-server 7 on this machine: the users need one")


class Servers(NamedTuple):
    """Both, with our files."""

    broker: Shipped
    cache: Shipped

    def environment(self, user: str, at_cache: str = "cache") -> dict[str, str]:
        """What a process of this role is told."""
        return {
            "HEADRACE_BROKER_URL": self.broker.url(user),
            "HEADRACE_CACHE_URL": self.cache.url(at_cache),
            "HEADRACE_LEASE_SECONDS": "2",
            "HEADRACE_BROKER_TIMEOUT_SECONDS": "1.5",
        }

    def denied(self) -> list[tuple[str, str, str]]:
        """Who was refused what, at either."""
        return [*self.broker.denied(), *self.cache.denied()]


@pytest.fixture
def servers(tmp_path: Path) -> Iterator[Servers]:
    with shipped("broker.conf", tmp_path / "broker") as broker, shipped("cache.conf", tmp_path / "cache") as cache:
        yield Servers(broker, cache)


def test_a_fleet_runs_and_no_role_is_refused_anything(clean: RunningStack, servers: Servers) -> None:
    ledger = Ledger()
    health, view, export = choose(0), choose(0), choose(0)
    worker = ProcessContainer("w1", {**clean.environment, **servers.environment("worker"), "HEADRACE_HEALTH_PORT": str(health)})
    flower = {"HEADRACE_FLOWER_PORT": str(view), "HEADRACE_FLOWER_PASSWORD": "secret"}
    exporter = {"HEADRACE_EXPORTER_PORT": str(export)}
    try:
        worker.start()
        with (
            running({**clean.environment, **servers.environment("ingress")}) as ingress,
            foreground("exporter", {**clean.environment, **servers.environment("exporter", "exporter"), **exporter}) as exporting,
            foreground("flower", {**clean.environment, **servers.environment("flower"), **flower}) as viewing,
            foreground("beat", {**clean.environment, **servers.environment("beat")}),
        ):
            worker.ready()
            # Order is kept within a way in: a conversation has a lane of webhooks and a lane of messages.
            assert ingress.webhook("hook-1", "c-hook").status == 202
            assert ingress.message("api-1").status == 202
            ledger.enter([message("hook-1", "c-hook"), message("api-1")])
            send_by_stock_client(servers.broker.url("producer"), ledger)
            eventually("the worker is live", lambda: status(f"http://127.0.0.1:{health}/livez") == 200)
            eventually("the exporter serves", lambda: exporting.answers(f"http://127.0.0.1:{export}/metrics"), within=30)
            eventually("Flower serves", lambda: viewing.answers(f"http://127.0.0.1:{view}/healthcheck"), within=60)
            eventually("Flower asks the worker", lambda: asked(view), within=30)
            with connect(servers.broker.url("exporter"), timeout=5) as client:
                sample.take(client, settings().queues, monotonic_seconds(), wall_seconds())  # what the autoscaler asks
            with connect(servers.broker.url("operator"), timeout=5) as client:
                ledger.settle(client, within=30)
    finally:
        print(servers.denied())  # noqa: T201 - what it failed of
        worker.kill("SIGTERM")
        worker.wait()
        worker.teardown()
    assert servers.denied() == [], "not while it leaves, either"


def asked(port: int) -> bool:
    return status(f"http://127.0.0.1:{port}/api/workers?refresh=1", "headrace", "secret") == 200


def send_by_stock_client(url: str, ledger: Ledger) -> None:
    """In the ordinary list, and in one of lesser priority."""
    account = str(rows("SELECT id FROM accounts")[0][0])
    with Celery("stock", broker=url, set_as_current=False) as client:
        for number, options in enumerate(({}, {"priority": 5})):
            it = message(f"stock-{number}", f"stock-{number}")
            argument = {"account_id": account, **as_json(it.message_id, it.conversation_id)}
            client.send_task("messages.store", args=[argument], queue="messages", **options)
            ledger.enter([it])


def test_the_operators_commands_work(
    clean: RunningStack, servers: Servers, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in servers.environment("operator", "operator").items():
        monkeypatch.setenv(name, value)
    settings.cache_clear()
    headrace = CommandLine(monkeypatch, capsys)
    try:
        for words in (
            ("check",),
            ("queue", "list"),
            ("queue", "pause", "messages.00"),
            ("queue", "resume", "messages.00"),
            ("broker", "export"),
            ("cache", "stats"),
            ("cache", "warm"),
            ("cache", "invalidate", "--all"),
        ):
            ended = headrace(*words)
            assert ended.code == 0, f"{words}: {ended.err}"
        found = json.loads(headrace("doctor", "--json").out)["findings"]
        assert [each["problem"] for each in found] == ["no worker holds a lease: nothing is stored"]
    finally:
        monkeypatch.undo()
        settings.cache_clear()
    assert servers.denied() == []
