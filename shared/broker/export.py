"""What is done to the broker of a stopped fleet: hand its messages back to plain Celery lists, change its number of lanes.

Both are repeatable: a run that was cut short is finished by the next.
"""

from typing import NamedTuple, cast

import redis

from shared.broker import calls, keys
from shared.broker.claims import Claims
from shared.errors import HeadraceError
from shared.topology import MESSAGES, WEBHOOKS, lane_queues


class FleetRunning(HeadraceError):
    """Workers hold leases. Stop them, or wait until the leases of the dead ones end, and repeat."""


class Exported(NamedTuple):
    """Messages that were put back into lists."""

    claimed: int
    delayed: int
    refused: int
    """Messages that stay in ``headrace:refused:*``, for nobody could read them."""


def require_stopped(client: redis.Redis) -> None:
    """Raises FleetRunning while a consumer's lease stands."""
    seconds, micros = client.time()
    live = client.zcount(keys.CONSUMERS, seconds * 1000 + micros // 1000, "+inf")
    if live:
        raise FleetRunning(f"{live} consumers hold leases: stop every worker (`headrace down`) and repeat")


def export(client: redis.Redis) -> Exported:
    """Put claimed messages at the heads of their lists and delayed ones at the tails, and remove the fleet's bookkeeping.

    Stock Celery then consumes them all; lanes stay queues of their own (``-Q messages.00,...``). The number of lanes, pauses and
    refused messages stay. Raises FleetRunning, redis.RedisError.

    Args:
        client: as `Claims` needs it.
    """
    require_stopped(client)
    claims = Claims(client)
    holders = {name.decode() for name in cast("list[bytes]", client.zrange(keys.CONSUMERS, 0, -1))}
    holders |= {name.decode().removeprefix(keys.CLAIMS) for name in client.scan_iter(match=keys.CLAIMS + "*", count=1000)}
    claimed = delayed = 0
    for consumer in holders:
        claimed += int(client.hlen(keys.CLAIMS + consumer))
        claims.leave(consumer)
    while moved := claims.run(calls.promote(everything=True)).moved:
        delayed += moved
    client.delete(keys.CONSUMERS, keys.CONSUMING, keys.EPOCH, keys.SERIAL, keys.HELD, keys.ALONE, keys.DEATHS)
    client.delete(keys.SETTLED, keys.FORMAT, keys.LOOKED)
    refused = sum(int(client.llen(name)) for name in client.scan_iter(match=keys.REFUSED + "*", count=1000))
    return Exported(claimed, delayed, refused)


def change_lanes(client: redis.Redis, lanes: int) -> int:
    """Set the fleet's number of lanes; how many messages wait for their new lanes.

    What waits in message lanes goes to the head of ``messages``, each lane in its order, and is forwarded when workers start.
    Webhook lanes must be empty, for their order key is not in the message. Raises FleetRunning, redis.RedisError.

    Args:
        client: as `Claims` needs it.
        lanes: 1 or more; the workers' and the ingress's HEADRACE_LANES from now on.
    """
    export(client)
    before = int(client.get(keys.LANES) or lanes)
    waiting = [queue for queue in lane_queues(WEBHOOKS, before) if client.llen(queue)]
    if waiting:
        raise FleetRunning(f"webhooks wait in {len(waiting)} lanes: start the workers, let them drain, stop them and repeat")
    moved = 0
    for queue in lane_queues(MESSAGES, before):
        for name in keys.lists_of(queue):
            # From the tail to the head: the oldest ends outermost. One by one and atomically: a run cut short loses nothing.
            while client.lmove(name, MESSAGES, "LEFT", "RIGHT") is not None:
                moved += 1
    client.set(keys.LANES, lanes)
    return moved
