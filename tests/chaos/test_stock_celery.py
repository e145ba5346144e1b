"""What the same schedule of kills costs stock Celery: counted for docs/chaos.md, next to ours.

Producer, load, kills and their times are the same; a few tasks take longer than the short visibility time-out.
"""

import json
import random
import sys
from base64 import b64decode
from collections import Counter
from typing import NamedTuple

import pytest
import redis

from tests.chaos import load
from tests.chaos.fleet import Fleet, Watched
from tests.chaos.form import long_form
from tests.chaos.ledger import letters
from tests.chaos.report import show
from tests.chaos.schedule import inject, schedule
from tests.conftest import RunningStack
from tests.factory import message, rows
from tests.nodes import ProcessContainer
from tests.waiting import eventually

LONG_SECONDS = 12
PATIENCE_SECONDS = 130.0
"""After the last kill; what is not stored then is late at best. Kombu looks for what to restore every 100 s."""


class StockWorker(ProcessContainer):
    """``celery worker`` of `tests.chaos.stock_app`."""

    def command(self) -> list[str]:
        celery = [sys.executable, "-m", "celery", "-A", "tests.chaos.stock_app", "worker"]
        return [*celery, "-c", "2", "-Q", "messages", "-n", f"{self.name}@stock", "-l", "INFO", "--without-mingle"]


class Counts(NamedTuple):
    """Of messages whose publish returned; ``given_up``: dead letters, for they were killed twice while they ran alone."""

    sent: int
    lost: int
    late: int
    given_up: int
    twice: int
    disordered: int

    def __str__(self) -> str:
        fates = f"{self.lost} lost, {self.late} late, {self.given_up} dead-lettered, {self.twice} handled twice"
        return f"{fates}, {self.disordered} conversations out of order"


SIDES = {"Headrace": None, "stock Celery, default visibility": "", "stock Celery, visibility 10 s": "10"}


@long_form
@pytest.mark.parametrize("side", SIDES)
def test_the_same_kills_cost_us_nothing_and_stock_celery_messages(
    fleet: Fleet, clean: RunningStack, account: str, seed: int, side: str
) -> None:
    dice = random.Random(f"{seed} stock")
    ours, kills = side == "Headrace", 40
    if ours:
        fleet.start_together("w1", "w2", kind=Watched)
    else:
        stock = {
            "STOCK_BROKER_URL": fleet.broker.url,
            "STOCK_WITNESS_URL": clean.cache_url,
            "STOCK_VISIBILITY_SECONDS": SIDES[side] or "",
        }
        fleet.start_together("w1", "w2", kind=StockWorker, **stock)
    send = load.to_messages(fleet.broker.url, account)
    sent: dict[str, list[str]] = {}

    def publish(number: int) -> None:
        """A handful of messages, one in 97 long: they fall into different conversations, for one conversation's run in turn."""
        for _ in range(10):
            total = sum(map(len, sent.values()))
            it = message(f"m{total:05d}", f"c{total % 20}", text=f"takes {LONG_SECONDS}" if total % 97 == 96 else "")
            send([it])
            sent.setdefault(it.conversation_id, []).append(it.message_id)

    def kill_in_window(number: int) -> None:
        fleet.kill_in_window(number, lambda: publish(number))

    faults = schedule(dice, ("parent", "child", "window", *("publish",) * 9), kills * 4, every=0.5)
    actions = {"parent": fleet.kill_parent, "child": fleet.kill_child, "window": kill_in_window, "publish": publish}
    inject(faults, actions)
    fleet.ready()
    counts = count_up(fleet.broker.client, clean, sent, ours)
    show("1-5", side, injections=kills, messages=counts.sent, more=str(counts))
    if ours:
        assert counts == Counts(counts.sent, 0, 0, counts.given_up, counts.twice, 0)


def count_up(broker: redis.Redis, stack: RunningStack, sent: dict[str, list[str]], ours: bool) -> Counts:
    """Wait until all is stored, or patience is at an end."""
    promised = [message_id for ids in sent.values() for message_id in ids]

    def settled() -> bool:
        return len(effects(witness, ours)) + letters() >= len(promised)

    with redis.Redis.from_url(stack.cache_url) as witness:
        try:
            eventually("all is stored or given up", settled, within=PATIENCE_SECONDS, every=0.5)
        except AssertionError:
            assert not ours
        done = effects(witness, ours)
        delivered = Counter(name.decode() for name in witness.lrange("delivered", 0, -1))
    kept = {id_in(payload) for payload in broker.lrange("messages", 0, -1)}
    kept |= {id_in(json.dumps(json.loads(entry)[0])) for entry in broker.hvals("unacked")}
    dead = {message_id for (message_id,) in rows("SELECT message_id FROM dead_letters")}
    missing = [message_id for message_id in promised if message_id not in done and message_id not in dead]
    late = [message_id for message_id in missing if message_id in kept]
    place = {message_id: number for number, message_id in enumerate(done)}
    disordered = sum(1 for ids in sent.values() if (order := [place[each] for each in ids if each in place]) != sorted(order))
    return Counts(
        len(promised),
        len(missing) - len(late),
        len(late),
        len(dead),
        sum(1 for times in delivered.values() if times > 1),
        disordered,
    )


def effects(witness: redis.Redis, ours: bool) -> list[str]:
    """Ids of what was stored, each once, in order."""
    if ours:
        return [row[0] for row in rows("SELECT message_id FROM messages ORDER BY conversation_id, sequence")]
    return list(dict.fromkeys(name.decode() for name in witness.lrange("done", 0, -1)))


def id_in(payload: str | bytes) -> str:
    """Of a stock client's message."""
    message_id: str = json.loads(b64decode(json.loads(payload)["body"]))[0][0]["message_id"]
    return message_id
