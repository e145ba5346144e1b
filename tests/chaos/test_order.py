"""Order, whatever happens to workers: every conversation is stored as it was sent."""

import random

from tests.chaos import load
from tests.chaos.fleet import Fleet
from tests.chaos.form import long_form
from tests.chaos.ledger import Ledger, stored
from tests.chaos.load import Load
from tests.chaos.report import show
from tests.redis_server import RedisServer
from tests.waiting import eventually


@long_form
def test_every_conversation_stays_in_order_with_one_worker_killed_and_one_added_half_way(
    fleet: Fleet, broker: RedisServer, account: str, ledger: Ledger, dice: random.Random
) -> None:
    total, conversations = 200_000, 2_000
    first, _ = fleet.start_together("w1", "w2")
    flow = Load(
        load.to_lanes(broker.url, account), ledger, "m", dice, conversations=conversations, batch=500, every=0.02, total=total
    )
    flow.start()
    eventually("half is stored", lambda: stored() >= total // 2, within=120, every=0.1)
    first.kill()
    fleet.start("w3")
    flow.wait()
    ledger.settle(broker.client, within=120)
    show("order", "one of two workers killed, one added half-way", injections=2, messages=len(ledger))
