"""Rows 1 to 5 of the faults: every process killed at random times under load, and in the window between pop and record."""

import json
import random
import signal
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path

import psutil
import pytest
import redis

from shared.db.session import transact
from shared.store import accounts, channels
from tests.chaos import load
from tests.chaos.fleet import RECOVERY_SECONDS, Fleet, IngressProcess, running_fleet
from tests.chaos.form import long_form
from tests.chaos.ledger import Ledger, slowest_seconds
from tests.chaos.load import Load
from tests.chaos.report import show
from tests.chaos.schedule import inject, schedule
from tests.conftest import RunningStack, free_ports
from tests.factory import message
from tests.integration.test_up_down import Fleet as Supervised
from tests.redis_server import RedisServer, redis_at
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually


@long_form
def test_kills_of_parents_children_and_ingress_under_load_lose_double_and_reorder_nothing(
    fleet: Fleet, broker: RedisServer, ledger: Ledger, dice: random.Random
) -> None:
    tenant = transact(lambda session: accounts.create(session, "tenant"))
    channel = transact(lambda session: channels.add(session, tenant.id, "standard"))
    ingress = IngressProcess("ingress", fleet.environment)
    with ExitStack() as ending:
        ending.callback(ingress.teardown)
        ingress.start()
        fleet.start_together("w1", "w2", "w3")
        ingress.ready()
        ways = {
            "lane": load.to_lanes(broker.url, tenant.id),
            "celery": load.to_messages(broker.url, tenant.id),
            "api": load.to_api(ingress.port, tenant.api_key),
            "hook": load.to_webhooks(ingress.port, channel),
        }
        batches = {"lane": 100, "celery": 5, "api": 5, "hook": 2}  # so many straight to lanes that a batch is in flight at a kill
        loads = [Load(send, ledger, name, dice, conversations=20, batch=batches[name], every=0.2) for name, send in ways.items()]
        for each in loads:
            each.start()
        faults = schedule(dice, ("parent", "child", "child", "ingress"), 100, every=2.0)
        inject(faults, {"parent": fleet.kill_parent, "child": fleet.kill_child, "ingress": lambda _: ingress.kill_and_start()})
        for each in loads:
            each.stop()
        fleet.ready()
        ledger.settle(broker.client, within=60)
    show("1-3", "kill -9 of parent, child, ingress", injections=len(faults), messages=len(ledger), seconds=slowest_seconds())
    assert slowest_seconds() <= RECOVERY_SECONDS


@pytest.fixture
def supervised(clean: RunningStack, reachable_dir: Path) -> Iterator[Supervised]:
    """`headrace up` with a broker of its own."""
    it = Supervised(reachable_dir / "chaos", free_ports())
    yield it
    ended = it.headrace("down")
    assert ended.returncode == 0, ended.stderr
    assert it.left() == []


def test_a_supervised_fleet_comes_back_whichever_process_is_killed(
    supervised: Supervised, clean: RunningStack, ledger: Ledger, dice: random.Random
) -> None:
    ended = supervised.up("--workers", "2", HEADRACE_LEASE_SECONDS="2", HEADRACE_DATABASE_URL=clean.database_url)
    assert ended.returncode == 0, ended.stderr
    tenant = transact(lambda session: accounts.create(session, "tenant"))
    api = Load(load.to_api(supervised.port, tenant.api_key), ledger, "api", dice, conversations=20, batch=5, every=0.05)
    api.start()
    names = ["ingress", "beat", "worker-1", "worker-2", "child", "broker"]
    dice.shuffle(names)
    before = processes(supervised)
    for name in names:
        eventually(f"{name} is there", lambda name=name: victim(supervised, name), within=RECOVERY_SECONDS).kill()
        threading.Event().wait(dice.uniform(0, 0.5))
    killed = set(names) - {"child"}
    eventually(
        "all run again",
        lambda: (
            all(pid != before[name] for name, pid in processes(supervised).items() if name in killed)
            and len(processes(supervised)) == len(before)
        ),
        within=RECOVERY_SECONDS,
    )
    api.stop()
    status = supervised.status()
    with redis.Redis.from_url(status["broker_url"]) as client:
        ledger.settle(client, within=RECOVERY_SECONDS)
    eventually("all is well", lambda: supervised.status()["ready"], within=RECOVERY_SECONDS, every=0.5)
    show("1-4, 7", "kill -9 under `headrace up`", injections=len(names), messages=len(ledger), seconds=slowest_seconds())


def victim(fleet: Supervised, name: str) -> psutil.Process | None:
    """The process of this name; ``child``: one of the first worker's. None while it starts."""
    with suppress(psutil.Error, LookupError):
        if name != "child":
            return psutil.Process(processes(fleet)[name])
        return psutil.Process(processes(fleet)["worker-1"]).children()[0]
    return None


def processes(fleet: Supervised) -> dict[str, int]:
    """Name and pid of those that run, as the supervisor wrote it down."""
    listed = json.loads((fleet.data_dir / "fleet.json").read_bytes())["processes"]
    return {each["name"]: each["process"]["identity"]["pid"] for each in listed if each["state"] == "running"}


@long_form
def test_a_kill_between_pop_and_record_loses_nothing(
    fleet: Fleet, broker: RedisServer, account: str, ledger: Ledger, dice: random.Random
) -> None:
    """An idle worker is stopped, messages come, it is let go for some milliseconds or not at all, and killed; another lives."""
    send, kills = load.to_lanes(broker.url, account), 50
    survivor = fleet.start("survivor")
    number = 0
    for turn in range(0, kills, 2):
        victims = fleet.start_together(f"v{turn}", f"v{turn + 1}")
        for victim in victims:
            victim.kill(signal.SIGSTOP)
        messages = [message(f"m{number + n:06d}", f"c{dice.randrange(40)}") for n in range(200)]
        number += len(messages)
        send(messages)
        ledger.enter(messages)
        for victim in victims:
            if dice.random() < 0.5:
                victim.kill(signal.SIGCONT)
                threading.Event().wait(dice.uniform(0, 0.03))  # the window is milliseconds wide
            victim.kill(signal.SIGKILL)
            victim.wait()
    ledger.settle(broker.client, within=RECOVERY_SECONDS)
    assert survivor.status == "running"
    show("5", "kill in the pop window", injections=kills, messages=len(ledger))


@long_form
def test_a_kill_behind_a_slow_link_to_redis_loses_nothing(
    clean: RunningStack, broker: RedisServer, account: str, ledger: Ledger, dice: random.Random
) -> None:
    """With 20 ms each way a claim's answer is on its way most of the time."""
    kills = 40
    with TcpProxy.running(("127.0.0.1", broker.port)) as proxy, running_fleet(clean, broker, redis_at(proxy.port)) as fleet:
        proxy.delay_seconds = 0.02
        fleet.start_together("w1", "w2")
        flow = Load(load.to_lanes(broker.url, account), ledger, "m", dice, conversations=60, batch=50, every=0.05)
        flow.start()
        faults = schedule(dice, ["parent"], kills, every=2.0)
        inject(faults, {"parent": fleet.kill_parent})
        flow.stop()
        fleet.ready()
        ledger.settle(broker.client, within=2 * RECOVERY_SECONDS)
    show("2, 5", "kill -9 of a parent, 20 ms from Redis", injections=kills, messages=len(ledger), seconds=slowest_seconds())


@long_form
def test_a_storm_of_sigterm_ends_each_worker_in_ten_seconds_and_keeps_the_backlog(
    fleet: Fleet, broker: RedisServer, account: str, ledger: Ledger, dice: random.Random
) -> None:
    storm = 20
    fleet.start_together("w1", "w2")
    backlog = Load(load.to_lanes(broker.url, account), ledger, "m", dice, conversations=200, batch=500, every=0, total=60_000)
    backlog.start()
    faults = schedule(dice, ["term"], storm, every=2.0)
    inject(faults, {"term": lambda number: fleet.terminate(number, within=10)})
    backlog.stop()
    fleet.ready()
    ledger.settle(broker.client, within=90)
    assert not broker.client.exists("headrace:deaths"), "a hand-back is no death"
    show("6", "SIGTERM under a backlog, exit in 10 s", injections=storm, messages=len(ledger))
