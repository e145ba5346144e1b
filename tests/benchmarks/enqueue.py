"""Enqueue: how many messages a second one process queues, beside stock Celery's two ways and PgQueuer.

Each call returns once all are confirmed. Every side starts from the same decoded messages in a process of its own; encoding and
envelopes count, loading and connecting do not. What ours queued is then run by a stock Celery worker, which must store all of it.
"""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import orjson

from tests.benchmarks.drain import drain
from tests.benchmarks.ground import ROOT, Ground
from tests.benchmarks.sides import BASELINE, IDIOMATIC, python_of
from tests.benchmarks.verdict import Series, Verdict, ratio
from tests.benchmarks.workload import Queued, messages

OURS, ONE, BATCH, PGQUEUER = "enqueue_many", "apply_async", "Producer.batch()", "PgQueuer"
STOCK = {ONE: "one", BATCH: "batch"}

STOCK_RUNS_MAX = 1_000
"""Of the messages that ours queued: a stock worker takes some seconds for so many."""


def run(ground: Ground, *, count: int, rounds: int, say: Callable[[str], None]) -> Verdict:
    """Queue ``count`` messages in each way in turn, ``rounds`` times."""
    file = ground.directory / "messages.jsonl"
    file.write_bytes(b"\n".join(map(orjson.dumps, messages(count))))
    series = {name: Series(name, "messages/s", []) for name in (OURS, ONE, BATCH, PGQUEUER)}
    faults = []
    for number in range(1, rounds + 1):
        for name, values in series.items():
            ground.reset()
            rate = _rate(name, file, ground)
            values.values.append(rate)
            if name != PGQUEUER and (queued := len(_queued(ground))) != count:
                faults.append(f"{name}, round {number}: {queued} queued of {count}")
            say(f"enqueue, round {number}: {name} {rate:,.0f} messages/s")
    faults += _run_by_stock(min(count, STOCK_RUNS_MAX), file, ground)
    bounds = [ratio("enqueue", series[OURS], series[peer], limit) for peer, limit in ((ONE, 15), (BATCH, 4), (PGQUEUER, 1))]
    return Verdict("enqueue", {"messages": count, "rounds": rounds}, list(series.values()), bounds, faults)


def _rate(name: str, file: Path, ground: Ground) -> float:
    if name == OURS:
        command = [sys.executable, "-m", "tests.benchmarks.our_enqueue", str(file)]
        environment, directory = ground.headrace_environment, ROOT
    else:
        peer, how = ("pgqueuer", []) if name == PGQUEUER else (IDIOMATIC.peer, [STOCK[name]])
        command = [str(python_of(peer)), "enqueue.py", *how, str(file)]
        environment, directory = ground.peer_environment, BASELINE / peer
    done = subprocess.run(command, env=environment, cwd=directory, stdout=subprocess.PIPE, check=True, text=True)
    return float(done.stdout)


def _run_by_stock(count: int, file: Path, ground: Ground) -> list[str]:
    file.write_bytes(b"\n".join(file.read_bytes().splitlines()[:count]))
    ground.reset()
    _rate(OURS, file, ground)
    drain(IDIOMATIC, ground, _queued(ground))
    return [f"a stock worker on what {OURS} queued: {fault}" for fault in ground.faults(count)]


def _queued(ground: Ground) -> list[Queued]:
    queues = [key.decode() for key in ground.broker.scan_iter("messages*")]
    return [Queued(queue, payload) for queue in queues for payload in reversed(ground.broker.lrange(queue, 0, -1))]
