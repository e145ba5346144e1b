"""The number of lanes is changed on a live system by docs/broker.md's procedure: nothing is lost, every conversation in order."""

import os
import random
import subprocess
import sys
from contextlib import ExitStack

from shared.broker import keys
from shared.db.session import transact
from shared.store import accounts, channels
from tests.chaos import load
from tests.chaos.fleet import Fleet, IngressProcess
from tests.chaos.ledger import Ledger, stored
from tests.chaos.load import Load
from tests.chaos.report import show
from tests.factory import message
from tests.redis_server import RedisServer
from tests.waiting import eventually


def test_another_number_of_lanes_loses_doubles_and_reorders_nothing(
    fleet: Fleet, broker: RedisServer, ledger: Ledger, dice: random.Random
) -> None:
    tenant = transact(lambda session: accounts.create(session, "tenant"))
    channel = transact(lambda session: channels.add(session, tenant.id, "standard"))
    with ExitStack() as ending:

        def edge(name: str) -> tuple[IngressProcess, list[Load]]:
            ingress = IngressProcess(name, fleet.environment)
            ending.callback(ingress.teardown)
            ingress.start()
            ingress.ready()
            ways = {"api": load.to_api(ingress.port, tenant.api_key), "hook": load.to_webhooks(ingress.port, channel)}
            return ingress, [
                Load(send, ledger, f"{name}-{way}", dice, conversations=30, batch=20, every=0.01) for way, send in ways.items()
            ]

        worker = fleet.start("w1")
        plain = Load(load.to_messages(broker.url, tenant.id), ledger, "plain", dice, conversations=30, batch=10, every=0.01)
        ingress, before = edge("before")
        for each in (plain, *before):
            each.start()
        eventually("it works", lambda: stored() > 200, within=30)
        for each in before:
            each.stop()
        ingress.kill("SIGTERM")
        ingress.wait()
        eventually("the webhooks are drained", lambda: not list(broker.client.scan_iter("webhooks.*")), within=30)
        refused = change(fleet, "8")
        assert (refused.returncode, refused.stderr.split(":")[:2]) == (1, ["headrace", " 1 consumers hold leases"])
        late = [message(f"late-{number}", f"late-c{number % 30}") for number in range(4_000)]
        load.to_lanes(broker.url, tenant.id)(late)  # so that some wait in the old lanes when the worker ends
        ledger.enter(late)
        worker.kill("SIGTERM")
        worker.wait()
        changed = change(fleet, "8")
        assert changed.returncode == 0, changed.stderr
        assert broker.client.get(keys.LANES) == b"8"

        fleet.environment["HEADRACE_LANES"] = "8"
        fleet.start("w2")
        _, after = edge("after")
        for each in after:
            each.start()
        eventually("it works again", lambda: len(ledger) > 6_000, within=60)
        for each in (plain, *after):
            each.stop()
        ledger.settle(broker.client, within=60)
    show("-", "another number of lanes on a live system", injections=1, messages=len(ledger))


def change(fleet: Fleet, number: str) -> subprocess.CompletedProcess[str]:
    """`headrace broker lanes`."""
    command = [sys.executable, "-m", "workers.cli.main", "broker", "lanes", number]
    return subprocess.run(command, env={**os.environ, **fleet.environment}, capture_output=True, text=True, check=False)
