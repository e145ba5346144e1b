"""Rows 7, 9 and 10 of the faults: a broker that is killed, torn, full or silent."""

import random
import threading
from pathlib import Path

from shared.broker import keys
from shared.db.session import transact
from shared.store import accounts
from tests.chaos import load
from tests.chaos.fleet import Fleet, IngressProcess, running_fleet
from tests.chaos.form import long_form
from tests.chaos.ledger import Ledger, slowest_seconds, stored
from tests.chaos.load import Load
from tests.chaos.report import show
from tests.chaos.restart import restart
from tests.chaos.schedule import inject, schedule
from tests.conftest import RunningStack
from tests.factory import message
from tests.redis_server import RedisServer, redis_at
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

RESTART_SECONDS = 15.0
SILENCE_SECONDS = 60.0


@long_form
def test_a_killed_and_torn_redis_loses_nothing_and_is_worked_with_again(
    fleet: Fleet, account: str, ledger: Ledger, dice: random.Random, tmp_path: Path
) -> None:
    broker = fleet.broker
    fleet.start_together("w1", "w2")
    loads = [
        Load(load.to_lanes(broker.url, account), ledger, "lane", dice, conversations=50, batch=20, every=0.02),
        Load(load.to_messages(broker.url, account), ledger, "celery", dice, conversations=50, batch=5, every=0.05),
    ]
    for each in loads:
        each.start()

    faults = schedule(dice, ["restart"], 25, every=2.5)
    inject(faults, {"restart": lambda number: restart(broker, tmp_path / "broker", number)})
    for each in loads:
        each.stop()
    ledger.settle(broker.client, within=2 * RESTART_SECONDS)
    fleet.assert_alive()
    show("7", "Redis kill -9, half of them torn", injections=len(faults), messages=len(ledger), seconds=slowest_seconds())
    assert slowest_seconds() <= RESTART_SECONDS


@long_form
def test_a_full_redis_is_drained_while_leases_and_delayed_messages_hold(
    fleet: Fleet, broker: RedisServer, ledger: Ledger, dice: random.Random
) -> None:
    tenant = transact(lambda session: accounts.create(session, "tenant"))
    ingress = IngressProcess("ingress", fleet.environment)
    fleet.workers.append(ingress)
    ingress.start()
    fleet.start_together("w1", "w2")
    ingress.ready()
    delayed = [message(f"late{number}", f"late{number}") for number in range(20)]
    backlog = Load(
        load.to_lanes(broker.url, tenant.id),
        ledger,
        "m",
        dice,
        conversations=100,
        batch=1_000,
        every=0,
        total=50_000,
    )
    backlog.start()
    backlog.wait()
    load.to_messages(broker.url, tenant.id, countdown=6)(delayed)
    ledger.enter(delayed)
    eventually("they are held", lambda: broker.client.zcard(keys.DELAYED) == 20)
    api = Load(load.to_api(ingress.port, tenant.api_key), ledger, "api", dice, conversations=10, batch=5, every=0.02)
    api.start()
    consumers = set(broker.client.zrange(keys.CONSUMERS, 0, -1))
    broker.client.config_set("maxmemory", "1")
    eventually("the ingress refuses", lambda: api.refusals > 3)
    eventually("what was queued drains", lambda: stored() >= len(ledger), within=60)
    assert set(broker.client.zrange(keys.CONSUMERS, 0, -1)) == consumers, "no lease was lost"
    assert not broker.client.exists(keys.DEATHS, keys.DELAYED)
    broker.client.config_set("maxmemory", "0")
    api.stop()
    ledger.settle(broker.client, within=30)
    assert set(broker.client.zrange(keys.CONSUMERS, 0, -1)) == consumers
    fleet.assert_alive()
    show("9", "Redis full, 503 meanwhile", injections=1, messages=len(ledger), more=f"{api.refusals} refusals")


@long_form
def test_half_open_links_to_redis_are_replaced_within_a_minute(
    clean: RunningStack, broker: RedisServer, account: str, ledger: Ledger, dice: random.Random
) -> None:
    """Every open connection falls silent, without a reset; new ones work."""
    silences = 8
    with TcpProxy.running(("127.0.0.1", broker.port)) as proxy, running_fleet(clean, broker, redis_at(proxy.port)) as fleet:
        fleet.start_together("w1", "w2")
        flow = Load(load.to_lanes(broker.url, account), ledger, "m", dice, conversations=50, batch=20, every=0.05)
        flow.start()
        for _ in range(silences):
            threading.Event().wait(dice.uniform(0.5, 2))
            proxy.abandon()
            before = len(ledger)
            eventually("what was sent before is stored", lambda before=before: stored() >= before + 100, within=SILENCE_SECONDS)
        flow.stop()
        ledger.settle(broker.client, within=SILENCE_SECONDS)
        fleet.assert_alive()
    show("10", "half-open links", injections=silences, messages=len(ledger), seconds=slowest_seconds())
    assert slowest_seconds() <= SILENCE_SECONDS
