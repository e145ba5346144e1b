"""Rows 18, 20 and 21 of the faults: messages that harm, messages that come many times."""

import random
import subprocess
from concurrent.futures import ThreadPoolExecutor

import pytest

from tests.chaos import load
from tests.chaos.bulk import produced, producer
from tests.chaos.fleet import Fleet, Watched
from tests.chaos.form import long_form, sized
from tests.chaos.harms import HARMS
from tests.chaos.ledger import Ledger, left_in, letters, stored
from tests.chaos.report import show
from tests.factory import assert_sequences_whole, message, new_account, rows
from tests.redis_server import RedisServer
from tests.waiting import eventually

EVERY = "raises, segfaults, eats memory"


@pytest.mark.parametrize("harms", [EVERY, *(pytest.param(harm, marks=long_form) for harm in HARMS)])
def test_one_harmful_message_in_a_thousand_costs_its_batch_mates_nothing(
    fleet: Fleet, account: str, ledger: Ledger, dice: random.Random, harms: str
) -> None:
    total, kinds = (sized(3_000, 12_000) if harms == EVERY else 2_000), harms.split(", ")
    chosen = dice.sample(range(total), total // 1_000)
    poison = {f"m{number}": kinds[place % len(kinds)] for place, number in enumerate(chosen)}
    messages = [message(f"m{number}", f"c{number % 300}", text=poison.get(f"m{number}", "fine")) for number in range(total)]
    send = load.to_lanes(fleet.broker.url, account)
    for start in range(0, total, 500):
        send(messages[start : start + 500])
    ledger.enter(messages)
    fleet.start_together("w1", "w2", kind=Watched)
    ledger.settle(fleet.broker.client, within=120, dead=set(poison))
    fleet.assert_alive()
    for reason, body in rows("SELECT reason, convert_from(body, 'UTF8') FROM dead_letters"):
        assert reason
        assert any(text in body for text in poison.values()), "whole"
    show("18", f"poison: {harms}", injections=len(poison), messages=total)


@long_form
def test_garbage_in_the_lists_costs_its_neighbours_nothing(
    fleet: Fleet, broker: RedisServer, account: str, ledger: Ledger, dice: random.Random
) -> None:
    total = 20_000
    send, garbage = load.to_lanes(broker.url, account), 0
    for start in range(0, total, 1_000):
        messages = [message(f"m{number}", f"c{number % 300}") for number in range(start, start + 1_000)]
        send(messages[:500])
        for lane in (f"messages.{dice.randrange(32):02d}", f"webhooks.{dice.randrange(32):02d}", "messages"):
            broker.client.lpush(lane, dice.randbytes(dice.randrange(1, 300)))
            garbage += 1
        send(messages[500:])
        ledger.enter(messages)
    fleet.start_together("w1", "w2")
    eventually("all but the garbage is stored", lambda: stored() == total, within=60)
    eventually("the garbage is kept", lambda: letters() == garbage, within=30)
    assert {row[0] for row in rows("SELECT reason FROM dead_letters")} <= {"it is no JSON", "it is no Celery message"}
    eventually("nothing is stuck", lambda: not left_in(broker.client))
    assert_sequences_whole()
    show("18", "garbage bytes in the lists", injections=garbage, messages=total)


@long_form
def test_one_id_delivered_fifty_times_at_once_and_again_later_has_one_effect(
    fleet: Fleet, broker: RedisServer, account: str, ledger: Ledger
) -> None:
    """Straight to its lane, to wrong lanes, and by stock clients, all at the same time."""
    fleet.start_together("w1", "w2", "w3")
    ids, times = 100, 50
    ways = [load.to_lanes(broker.url, account), load.to_messages(broker.url, account)]
    for turn in range(2):
        with ThreadPoolExecutor(10) as pool:
            for number in range(ids):
                same = [message(f"m{number}", "c")]
                copies = [pool.submit(ways[copy % 2], same * 5) for copy in range(times // 5)]
                for copy in copies:
                    copy.result()
                if turn == 0:
                    ledger.enter(same)
        ledger.settle(broker.client, within=60)
    show("20", "one id 50 times at once, and again", injections=ids * 2, messages=ids * 2 * times)


@long_form
def test_one_id_raced_through_different_lanes_has_one_effect(fleet: Fleet, broker: RedisServer, account: str) -> None:
    """The same id in fifty conversations: whichever is first, there is one."""
    fleet.start_together("w1", "w2")
    ids, send = 100, load.to_lanes(broker.url, account)
    for number in range(ids):
        send([message(f"m{number}", f"c{number}-{copy}") for copy in range(50)])
    eventually("each is stored", lambda: stored() == ids, within=60)
    eventually("nothing is stuck", lambda: not left_in(broker.client), within=30)
    assert stored() == ids
    assert letters() == 0
    assert_sequences_whole()
    show("20", "one id in 50 conversations at once", injections=ids, messages=ids * 50)


@long_form
def test_a_producer_killed_in_a_bulk_publish_and_run_again_has_no_second_effect(
    fleet: Fleet, broker: RedisServer, ledger: Ledger, dice: random.Random
) -> None:
    account, total, kills = new_account(), 50_000, 10
    fleet.start_together("w1", "w2")
    command = producer(broker.url, account, total)
    for _ in range(kills):
        with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as running:
            assert running.stdout
            for _ in range(dice.randrange(1, total // 500 // 2)):
                running.stdout.readline()
            eventually("a moment later", lambda: dice.random() < 0.3, every=0.001)
            running.kill()
    subprocess.run(command, stdout=subprocess.DEVNULL, check=True, timeout=60)
    ledger.enter(produced(total))
    ledger.settle(broker.client, within=90)
    show("21", "producer killed in a bulk publish, replayed", injections=kills, messages=total)
