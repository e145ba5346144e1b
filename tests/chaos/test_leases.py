"""Rows 17 and 26 of the faults, and what a lease promises: a live worker's work is delivered once, a dead one's soon again."""

import random
import signal
import time
from collections import Counter
from pathlib import Path

import pytest
import redis

from shared.broker import keys
from tests.chaos import load
from tests.chaos.fleet import LEASE_SECONDS, RECOVERY_SECONDS, Fleet, Watched, running_fleet
from tests.chaos.form import long_form, sized
from tests.chaos.harms import DELIVERED
from tests.chaos.ledger import Ledger, slowest_seconds, stored
from tests.chaos.load import Load
from tests.chaos.report import show
from tests.conftest import RunningStack
from tests.factory import message
from tests.redis_server import RedisServer, redis_at
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

FAKETIME = Path("/usr/lib/x86_64-linux-gnu/faketime/libfaketimeMT.so.1")


def delivered(stack: RunningStack) -> Counter[str]:
    """How often each message was given to a handler."""
    with redis.Redis.from_url(stack.cache_url) as witness:
        return Counter(name.decode() for name in witness.lrange(DELIVERED, 0, -1))


@long_form
def test_a_task_of_four_leases_on_a_live_worker_is_delivered_once(
    fleet: Fleet, clean: RunningStack, broker: RedisServer, account: str, ledger: Ledger
) -> None:
    fleet.start_together("w1", "w2", kind=Watched)
    long = [message(f"m{number}", f"c{number}", text=f"takes {4 * LEASE_SECONDS}") for number in range(2)]
    load.to_lanes(broker.url, account)(long)
    ledger.enter(long)
    ledger.settle(broker.client, within=60)
    assert set(delivered(clean).values()) == {1}
    show("-", "a task of four leases, delivered once", injections=len(long), messages=len(long))


def test_what_children_run_while_the_link_to_the_broker_is_cut_is_delivered_once_and_in_order(
    clean: RunningStack, broker: RedisServer, account: str, ledger: Ledger
) -> None:
    with TcpProxy.running(("127.0.0.1", broker.port)) as proxy, running_fleet(clean, broker, redis_at(proxy.port)) as fleet:
        fleet.start_together("w1", "w2", kind=Watched)
        long = [message(f"long{number}", f"c{number}", text="takes 3") for number in range(2)]
        behind = [message(f"m{number}", f"c{number % 2}") for number in range(40)]
        for messages in (long, behind):
            load.to_lanes(broker.url, account)(messages)
            ledger.enter(messages)
        eventually("a child works", lambda: delivered(clean))
        cuts = 3
        for cut in range(cuts):
            proxy.cut()
            assert cut or not stored(), "it still does"
            eventually("they are cut off", lambda: not links(broker))
            proxy.start()
            eventually("they are back", lambda: links(broker) == len(fleet.workers), within=RECOVERY_SECONDS)
        ledger.settle(broker.client, within=60)
        fleet.assert_alive()
    assert set(delivered(clean).values()) == {1}
    show("12", "the link to the broker cut under running batches", injections=cuts, messages=len(ledger))


def test_what_is_on_its_way_to_a_child_when_the_link_is_cut_is_delivered_once(
    clean: RunningStack, broker: RedisServer, account: str, ledger: Ledger
) -> None:
    with TcpProxy.running(("127.0.0.1", broker.port)) as proxy, running_fleet(clean, broker, redis_at(proxy.port)) as fleet:
        (worker,) = fleet.start_together("w1", kind=Watched)
        for child in worker.tree()[1:]:
            child.suspend()
        sent = [message(f"m{number}", f"c{number}") for number in range(20)]
        load.to_lanes(broker.url, account)(sent)
        ledger.enter(sent)
        eventually("all are claimed", lambda: claims_of(broker, worker.tree()[0].pid) == len(sent))
        proxy.cut()
        eventually("it is cut off", lambda: not links(broker))
        proxy.start()
        eventually("it is back", lambda: links(broker), within=RECOVERY_SECONDS)
        for child in worker.tree()[1:]:
            child.resume()
        ledger.settle(broker.client, within=60)
        fleet.assert_alive()
    assert set(delivered(clean).values()) == {1}


@long_form
def test_a_broker_that_stands_still_past_every_lease_redelivers_nothing(
    fleet: Fleet, clean: RunningStack, broker: RedisServer, account: str, ledger: Ledger
) -> None:
    fleet.start_together("w1", "w2", "w3", kind=Watched)
    long = [message(f"long{number}", f"c{number}", text=f"takes {2 * LEASE_SECONDS}") for number in range(3)]
    load.to_lanes(broker.url, account)(long)
    ledger.enter(long)
    eventually("children work", lambda: delivered(clean))
    broker.process.send_signal(signal.SIGSTOP)
    stood = time.monotonic()
    eventually("every lease has ended", lambda: time.monotonic() - stood > LEASE_SECONDS * 1.1)
    broker.process.send_signal(signal.SIGCONT)
    ledger.settle(broker.client, within=60)
    fleet.assert_alive()
    assert set(delivered(clean).values()) == {1}
    show("7", "a broker that stands still past every lease", injections=1, messages=len(ledger))


def links(broker: RedisServer) -> int:
    """Consumers that listen."""
    return dict(broker.client.pubsub_numsub(keys.WAKE))[keys.WAKE.encode()]


@long_form
def test_a_worker_dead_at_the_default_lease_has_its_messages_running_again_within_thirty_seconds(
    fleet: Fleet, clean: RunningStack, broker: RedisServer, account: str, ledger: Ledger
) -> None:
    default = {"HEADRACE_LEASE_SECONDS": "15"}
    victim, _ = fleet.start_together("victim", "survivor", kind=Watched, **default)
    held = [message(f"m{number}", f"c{number}", text="takes 0.5") for number in range(40)]
    load.to_lanes(broker.url, account)(held)
    ledger.enter(held)
    claimed = eventually("the victim has some", lambda: claims_of(broker, victim.process.pid if victim.process else 0))
    eventually("it runs some", lambda: delivered(clean))
    victim.kill(signal.SIGKILL)
    died = time.monotonic()
    eventually(
        "they went to another",
        lambda: not claims_of(broker, victim.process.pid if victim.process else 0),
        within=RECOVERY_SECONDS,
    )
    running_again = time.monotonic() - died
    ledger.settle(broker.client, within=60)
    show(
        "2",
        "a dead worker at the default lease",
        injections=1,
        messages=len(held),
        more=f"{claimed} claims back in {running_again:.0f} s",
    )


def claims_of(broker: RedisServer, pid: int) -> int:
    """Claims that the consumers of a process hold."""
    return sum(broker.client.hlen(name) for name in broker.client.scan_iter(f"{keys.CLAIMS}*:{pid}:*"))


@long_form
def test_a_worker_paused_past_its_lease_and_resumed_has_no_second_effect(
    fleet: Fleet, broker: RedisServer, account: str, ledger: Ledger, dice: random.Random
) -> None:
    fleet.start_together("w1", "w2", "w3")
    flow = Load(load.to_lanes(broker.url, account), ledger, "m", dice, conversations=20, batch=200, every=0.05)
    flow.start()
    pauses = 15
    for number in range(pauses):
        worker = fleet.workers[number % len(fleet.workers)]
        with_children = dice.random() < 0.5
        paused = worker.tree() if with_children else worker.tree()[:1]
        for process in paused:
            process.suspend()
        lost = eventually(
            "its lease ends", lambda: broker.client.zrangebyscore(keys.CONSUMERS, "-inf", 0) or deaths(broker), within=20
        )
        assert lost
        for process in paused:
            process.resume()
        eventually("it joins anew", lambda: broker.client.zcard(keys.CONSUMERS) == len(fleet.workers), within=RECOVERY_SECONDS)
    flow.stop()
    ledger.settle(broker.client, within=60)
    fleet.assert_alive()
    show("26", "SIGSTOP past the lease, SIGCONT", injections=pauses, messages=len(ledger), seconds=slowest_seconds())


def deaths(broker: RedisServer) -> bool:
    """Whether a consumer is missing."""
    return broker.client.zcard(keys.CONSUMERS) < 3


@pytest.mark.skipif(not FAKETIME.exists(), reason="no libfaketime: apt-get install libfaketime")
def test_a_clock_two_hours_wrong_redelivers_nothing(
    fleet: Fleet, clean: RunningStack, account: str, ledger: Ledger, dice: random.Random
) -> None:
    # A longer lease than the others': the broker's disk may hold its answers up for a second, and a turn of a worker's loop waits
    # for more than one (its heartbeat's event, say). That is no clock's doing.
    lease = {"HEADRACE_LEASE_SECONDS": "6"}
    wrong = {"LD_PRELOAD": str(FAKETIME), "FAKETIME_DONT_FAKE_MONOTONIC": "1", "DONT_FAKE_MONOTONIC": "1", **lease}
    fleet.start_together("fast", kind=Watched, FAKETIME="+2h", **wrong)
    fleet.start_together("slow", kind=Watched, FAKETIME="-2h", **wrong)
    fleet.start_together("right", kind=Watched, **lease)
    send, seconds = load.to_lanes(fleet.broker.url, account), sized(2, 20)
    flow = Load(send, ledger, "m", dice, conversations=200, batch=20, every=0.05, total=20 * 20 * seconds)
    flow.start()
    plain = Load(
        load.to_messages(fleet.broker.url, account), ledger, "p", dice, conversations=50, batch=5, every=0.1, total=50 * seconds
    )
    plain.start()
    flow.wait()
    plain.wait()
    ledger.settle(fleet.broker.client, within=RECOVERY_SECONDS)
    assert not fleet.broker.client.exists(keys.DEATHS)
    assert set(delivered(clean).values()) == {1}
    assert sum(delivered(clean).values()) == stored()
    show("17", "clocks 2 h fast and 2 h slow", injections=2, messages=len(ledger))
