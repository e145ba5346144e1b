"""Idle: what a worker with nothing to do takes of a core, and how soon it stores a message that arrives then.

Latency is from our producer's time of acceptance (a header, this host's clock) to `stored_at`, which the database sets in the
statement before the commit; one message every 50 ms and a random part, straight to its lane.
"""

import threading
from collections.abc import Callable
from random import Random
from time import perf_counter

import psutil

from shared.producer import Producer
from shared.topology import STORE_MESSAGES
from tests.benchmarks.ground import SEED_ACCOUNT, Ground
from tests.benchmarks.our_enqueue import items
from tests.benchmarks.sides import LANES, worker
from tests.benchmarks.verdict import Bound, Series, Verdict
from tests.benchmarks.workload import SEED, messages
from tests.waiting import eventually

READY_SECONDS_MAX = 60
SETTLE_SECONDS = 3
"""After it is ready: the last of its imports and its first sweeps are not idling."""

GAP_SECONDS = 0.05
JITTER_SECONDS = 0.05

CPU_PERCENT_MAX = 1
LATENCY_MS_MAX = 20

LATENCIES = "SELECT extract(epoch FROM stored_at - received_at) * 1000 FROM messages WHERE account_id <> %s ORDER BY id"


def run(ground: Ground, *, seconds: float, count: int, say: Callable[[str], None]) -> Verdict:
    """Watch one idle worker for ``seconds``, then send it ``count`` messages, one at a time."""
    ground.reset()
    pause = threading.Event()
    with worker(LANES, ground) as child:
        eventually("the worker consumes", child.program.is_ready, within=READY_SECONDS_MAX)
        pause.wait(SETTLE_SECONDS)
        before, started = _cpu_seconds(child.identity.pid), perf_counter()
        pause.wait(seconds)
        percent = 100 * (_cpu_seconds(child.identity.pid) - before) / (perf_counter() - started)
        say(f"idle: {percent:.2f} % of a core")
        _send(ground, count, pause)
        eventually("all are stored", lambda: ground.stored() == count, within=30)
    latencies = [float(row[0]) for row in ground.database.execute(LATENCIES, (SEED_ACCOUNT,))]
    cpu, latency = Series("CPU, parent and children", "% of a core", [percent]), Series("accepted to stored", "ms", latencies)
    say(f"idle: accepted to stored p50 {latency.median:.1f} ms")
    bounds = [
        Bound(f"an idle worker's CPU over {seconds:g} s", percent, CPU_PERCENT_MAX, at_least=False, unit="%"),
        Bound("p50 from accepted to stored, idle fleet", latency.median, LATENCY_MS_MAX, at_least=False, unit="ms"),
    ]
    return Verdict("idle", {"seconds": seconds, "messages": count}, [cpu, latency], bounds, ground.faults(count))


def _send(ground: Ground, count: int, pause: threading.Event) -> None:
    random, producer = Random(SEED), Producer(ground.broker_url)
    for message in messages(count):
        pause.wait(GAP_SECONDS + random.random() * JITTER_SECONDS)
        producer.enqueue_many(STORE_MESSAGES, items([message]))
    producer.close()


def _cpu_seconds(pid: int) -> float:
    parent = psutil.Process(pid)
    times = [process.cpu_times() for process in (parent, *parent.children(recursive=True))]
    return sum(each.user + each.system for each in times)
