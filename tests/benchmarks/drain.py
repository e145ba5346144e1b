"""Drain: how fast a worker stores what waits for it, the whole of `messages.store`, beside its peers.

N messages wait before a worker starts. Its rate is that of the last nine tenths, between the moments (`stored_at`, the
database's clock) when a tenth and when all of them were stored: starting up does not count, on any side.
"""

from collections.abc import Callable

from tests.benchmarks.ground import SEED_ACCOUNT, Ground
from tests.benchmarks.sides import BATCHES, HANDWRITTEN, IDIOMATIC, LANES, PLAIN, SIDES, Side, log_of, worker
from tests.benchmarks.verdict import Series, Verdict, ratio
from tests.benchmarks.workload import Queued, in_lanes, messages, plain
from tests.waiting import eventually

PATIENCE_SECONDS = 60
"""Without one more message stored; starting up takes some seconds."""

POLL_SECONDS = 0.25

STORED_AT = """
SELECT extract(epoch FROM stored_at) FROM messages WHERE account_id <> %s ORDER BY stored_at OFFSET %s LIMIT 1
"""


def run(ground: Ground, *, count: int, rounds: int, say: Callable[[str], None]) -> Verdict:
    """Drain ``count`` messages with each side in turn, ``rounds`` times."""
    arguments = messages(count)
    stock = plain(ground.broker_url, arguments)
    laned = in_lanes(stock, arguments)
    series = {side: Series(side.name, "messages/s", []) for side in SIDES}
    faults = []
    for number in range(1, rounds + 1):
        for side in SIDES:
            rate = drain(side, ground, laned if side.in_lanes else stock)
            wrong = [f"{side.name}, round {number}: {fault}" for fault in ground.faults(count)]
            series[side].values.append(rate)
            faults += wrong
            say(f"drain, round {number}: {side.name} {rate:,.0f} messages/s{'; '.join(['', *wrong])}")
    bounds = [
        ratio("drain", series[LANES], series[IDIOMATIC], 15),
        ratio("drain", series[LANES], series[HANDWRITTEN], 7),
        ratio("drain", series[LANES], series[BATCHES], 4),
        ratio("drain", series[PLAIN], series[IDIOMATIC], 8),
    ]
    return Verdict("drain", {"messages": count, "rounds": rounds}, list(series.values()), bounds, faults)


def drain(side: Side, ground: Ground, queued: list[Queued]) -> float:
    """Let a fresh worker of ``side`` store ``queued``; messages a second."""
    count = len(queued)
    ground.reset()
    ground.fill(queued)
    queues = ",".join(sorted({each.queue for each in queued}))
    stored = 0
    with worker(side, ground, queues) as child:

        def further() -> int:
            log = log_of(side, ground)
            assert child.exit_status() is None, f"the worker ended: {log.read_text(errors='replace')[-2000:]}"
            found = ground.stored()
            return found if found > stored else 0

        while stored < count:
            stored = eventually(f"{side.name} stores more", further, within=PATIENCE_SECONDS, every=POLL_SECONDS)
    tenth = count // 10
    begun, ended = (float(ground.one(STORED_AT, SEED_ACCOUNT, place)) for place in (tenth - 1, count - 1))
    return (count - tenth) / (ended - begun)
