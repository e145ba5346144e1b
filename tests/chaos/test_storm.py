"""Every fault in one storm: rows 1-3, 5-7, 9, 10, 18, 20, 21 and 26, one after the other and into each other's recovery."""

import random
import subprocess
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

import pytest

from shared.db.session import transact
from shared.store import accounts, channels
from tests.chaos import load
from tests.chaos.bulk import produced, producer
from tests.chaos.fleet import Fleet, IngressProcess, running_fleet
from tests.chaos.form import sized
from tests.chaos.ledger import Ledger, slowest_seconds
from tests.chaos.load import Load
from tests.chaos.report import show
from tests.chaos.restart import restart
from tests.chaos.schedule import inject, schedule
from tests.conftest import RunningStack
from tests.factory import message
from tests.redis_server import RedisServer, redis_at
from tests.tcp_proxy import TcpProxy

BULK = 12_000
PAUSE_SECONDS = 3.5
"""More than a lease and the third of one until it is noticed."""


class Storm:
    """What can be done to a fleet; each method is a fault, its argument chooses the target or the manner."""

    def __init__(self, fleet: Fleet, ingress: IngressProcess, proxy: TcpProxy, directory: Path, account: str) -> None:
        self._fleet, self._ingress, self._proxy, self._directory = fleet, ingress, proxy, directory
        self._broker = fleet.broker
        self._account = account
        self._wait = threading.Event().wait
        self.garbage = 0
        self.repeated: list[str] = []

    def actions(self) -> dict[str, Callable[[int], object]]:
        """By name."""
        return {
            "kill parent": self._fleet.kill_parent,
            "kill child": self._fleet.kill_child,
            "kill ingress": lambda _: self._ingress.kill_and_start(),
            "kill between pop and record": lambda number: self._fleet.kill_in_window(number, lambda: self._wait(0.3)),
            "terminate": lambda number: self._fleet.terminate(number, within=10),
            "pause past the lease": self.pause,
            "restart Redis": lambda number: restart(self._broker, self._directory, number),
            "fill Redis": lambda _: self.fill(),
            "silence links": lambda _: self._proxy.abandon(),
            "repeat an id": self.repeat,
            "put garbage": self.put_garbage,
        }

    def pause(self, number: int) -> None:
        """The parent alone, or with its children."""
        tree = self._fleet.workers[number % len(self._fleet.workers)].tree()
        paused = tree if number % 2 else tree[:1]
        for process in paused:
            process.suspend()
        self._wait(PAUSE_SECONDS)
        for process in paused:
            if process.is_running():
                process.resume()

    def fill(self) -> None:
        """Nobody can publish for a while."""
        self._broker.client.config_set("maxmemory", "1")
        self._wait(1)
        self._broker.client.config_set("maxmemory", "0")

    def repeat(self, number: int) -> None:
        """One id fifty times at once, by ten producers."""
        same = message(f"same-{number}-{len(self.repeated)}", f"same-{number}-{len(self.repeated)}")
        self.repeated.append(same.message_id)
        with ThreadPoolExecutor(10) as pool:
            list(pool.map(lambda _: load.to_lanes(self._broker.url, self._account)([same] * 5), range(10)))

    def put_garbage(self, number: int) -> None:
        """Into a lane and into the plain producers' queue."""
        for name in (f"messages.{number % 32:02d}", "messages"):
            self.garbage += 1
            self._broker.client.lpush(name, b"\xff garbage %d" % self.garbage)


@pytest.fixture
def proxy(broker: RedisServer) -> Iterator[TcpProxy]:
    with TcpProxy.running(("127.0.0.1", broker.port)) as it:
        yield it


@pytest.fixture
def fleet(clean: RunningStack, broker: RedisServer, proxy: TcpProxy) -> Iterator[Fleet]:
    with running_fleet(clean, broker, redis_at(proxy.port)) as it:
        yield it


def test_a_storm_of_every_fault_loses_doubles_reorders_and_blames_nothing(
    fleet: Fleet, proxy: TcpProxy, ledger: Ledger, dice: random.Random, tmp_path: Path
) -> None:
    broker = fleet.broker
    tenant = transact(lambda session: accounts.create(session, "tenant"))
    channel = transact(lambda session: channels.add(session, tenant.id, "standard"))
    with ExitStack() as ending:
        ingress = IngressProcess("ingress", {**fleet.environment, "HEADRACE_BROKER_URL": broker.url})
        ending.callback(ingress.teardown)
        ingress.start()
        bulk = subprocess.Popen(producer(broker.url, tenant.id, BULK), stdout=subprocess.PIPE)
        ending.callback(bulk.wait)
        ending.callback(bulk.kill)
        fleet.start_together("w1", "w2")
        ingress.ready()
        assert bulk.stdout
        bulk.stdout.readline()
        bulk.kill()
        loads = [
            Load(load.to_lanes(broker.url, tenant.id), ledger, "lane", dice, conversations=200, batch=40, every=0.2),
            Load(load.to_messages(broker.url, tenant.id), ledger, "celery", dice, conversations=20, batch=10, every=0.2),
            Load(load.to_api(ingress.port, tenant.api_key), ledger, "api", dice, conversations=20, batch=10, every=0.2),
            Load(load.to_webhooks(ingress.port, channel), ledger, "hook", dice, conversations=20, batch=2, every=0.2),
        ]
        for each in loads:
            each.start()
        storm = Storm(fleet, ingress, proxy, tmp_path / "broker", tenant.id)
        actions = storm.actions()
        faults = schedule(dice, list(actions), sized(1, 6) * len(actions), every=1.0)
        inject(faults, actions)
        for each in loads:
            each.stop()
        subprocess.run(producer(broker.url, tenant.id, BULK), stdout=subprocess.DEVNULL, check=True, timeout=60)
        ledger.enter(produced(BULK))
        again = [message(message_id, message_id) for message_id in storm.repeated]
        load.to_lanes(broker.url, tenant.id)(again)
        ledger.enter(again)
        fleet.ready()
        ledger.settle(broker.client, within=60, garbage=storm.garbage)
    show("1-10, 18-26", "storm of every fault", injections=len(faults), messages=len(ledger), seconds=slowest_seconds())
