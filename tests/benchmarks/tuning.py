"""Tuning: what each number in the configuration is worth, one setting at a time, the others as they are shipped.

`worker_children`, `prefetch_messages` and `batch_messages_max` by draining message lanes and webhook lanes; `publish_linger_ms`
by the edge's publisher alone, with many callers that each wait for the broker's confirmation. It holds no bounds;
docs/performance.md says what was chosen. The values of a setting take turns.
"""

import asyncio
from collections.abc import Callable
from statistics import quantiles
from time import perf_counter, time
from typing import Any

import orjson

from shared.envelope import envelope
from shared.producer import Producer
from shared.settings import PREFIX
from shared.topology import LANES_DEFAULT, STORE_MESSAGES, STORE_WEBHOOKS, lane_of
from tests.benchmarks.drain import drain
from tests.benchmarks.ground import Ground
from tests.benchmarks.sides import LANES
from tests.benchmarks.verdict import Series, Verdict
from tests.benchmarks.workload import Queued, in_lanes, messages, plain
from workers.ingress.publisher import Publisher

SWEEPS: dict[str, tuple[int, ...]] = {
    "worker_children": (1, 2, 3, 4),
    "prefetch_messages": (400, 800, 1_600, 3_200),
    "batch_messages_max": (50, 100, 200, 400, 800),
}
LINGERS_MS = (0, 1, 2, 5, 10)
CALLERS = (10, 200)
CALLS = 6_000
"""Of all callers together, in one run."""


def run(ground: Ground, *, count: int, rounds: int, say: Callable[[str], None]) -> Verdict:
    """Drain ``count`` messages of each kind with each value, ``rounds`` times; then the lingers."""
    arguments = messages(count)
    kinds = {"messages": in_lanes(plain(ground.broker_url, arguments), arguments), "webhooks": webhooks(arguments)}
    series: list[Series] = []
    faults: list[str] = []
    for setting, values in SWEEPS.items():
        found = {(kind, value): Series(f"{kind}, {setting} {value}", "messages/s", []) for kind in kinds for value in values}
        for _ in range(rounds):
            for (kind, value), each in found.items():
                each.values.append(_drained(ground, kinds[kind], setting, value))
                faults += [f"{each.name}: {fault}" for fault in ground.faults(count)]
                say(f"tuning: {each.name}: {each.values[-1]:,.0f} messages/s")
        series += found.values()
    for callers in CALLERS:
        series += _lingers(ground, callers, rounds, envelopes(arguments), say)
    return Verdict("tuning", {"messages": count, "rounds": rounds}, series, [], faults)


def webhooks(arguments: list[dict[str, Any]]) -> list[Queued]:
    """The same messages as Standard Webhooks, as the edge writes them."""
    queued = []
    for argument in arguments:
        account_id, message = argument["account_id"], {name: it for name, it in argument.items() if name != "account_id"}
        body = {"type": "message.created", "data": message}
        webhook = {"account_id": account_id, "channel_id": "", "source": "standard", "event": "", "body": body}
        lane = lane_of(account_id, argument["conversation_id"])
        queued.append(Queued(*envelope(STORE_WEBHOOKS, orjson.dumps(webhook), lane=lane, accepted_at=time(), via="webhook")))
    return queued


def envelopes(arguments: list[dict[str, Any]]) -> list[Queued]:
    """As ``POST /v1/messages`` writes them."""
    return [
        Queued(*envelope(STORE_MESSAGES, orjson.dumps(it), lane=number % LANES_DEFAULT, accepted_at=time(), via="api"))
        for number, it in enumerate(arguments)
    ]


def _drained(ground: Ground, queued: list[Queued], setting: str, value: int) -> float:
    name = f"{PREFIX}{setting.upper()}"
    ground.headrace_environment[name] = str(value)
    try:
        return drain(LANES, ground, queued)
    finally:
        del ground.headrace_environment[name]


def _lingers(ground: Ground, callers: int, rounds: int, ready: list[Queued], say: Callable[[str], None]) -> list[Series]:
    rates = {linger: Series(f"{callers} callers, linger {linger} ms", "messages/s", []) for linger in LINGERS_MS}
    waits = {linger: Series(f"{callers} callers, linger {linger} ms, p95", "ms", []) for linger in LINGERS_MS}
    for _ in range(rounds):
        for linger in LINGERS_MS:
            ground.reset()
            started = perf_counter()
            milliseconds = asyncio.run(_publish(ground.broker_url, linger / 1000, callers, ready))
            rates[linger].values.append(len(milliseconds) / (perf_counter() - started))
            waits[linger].values.append(quantiles(milliseconds, n=20)[-1])
        say(f"tuning: {callers} callers, each linger of {', '.join(map(str, LINGERS_MS))} ms once")
    return [*rates.values(), *waits.values()]


async def _publish(broker_url: str, linger_seconds: float, callers: int, ready: list[Queued]) -> list[float]:
    """``callers`` at once, each its next message once the one before is confirmed; milliseconds of each."""
    producer = Producer(broker_url)
    publisher = Publisher(producer, linger_seconds=linger_seconds, messages_max=500, waiting_max=20_000, timeout_seconds=5)
    milliseconds: list[float] = []

    async def call(number: int) -> None:
        for turn in range(CALLS // callers):
            started = perf_counter()
            await publisher.publish([ready[(number + turn * callers) % len(ready)]])
            milliseconds.append((perf_counter() - started) * 1000)

    await asyncio.gather(*(call(number) for number in range(callers)))
    await publisher.close()
    producer.close()
    return milliseconds
