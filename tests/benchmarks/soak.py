"""`make soak MINUTES=30`: one worker under steady load, and what each of its processes holds over time. Exits 1 over a bound.

Messages go straight to lanes at a steady rate, over conversations that all exist after the first minutes, so a worker has
nothing new to remember. The slope of a process is Theil and Sen's: the median of the slopes between every two samples after the
warm-up, which one sample taken in the middle of a batch does not move. It is that of the anonymous part of the proportional set
size, what the process wrote; the rest is code, which counts for less when anybody else on the machine runs the same Python.
"""

import argparse
import json
import os
import signal
import sys
import threading
from itertools import combinations
from pathlib import Path
from random import Random
from statistics import median
from time import monotonic
from typing import NamedTuple

import psutil
from rich.console import Console
from rich.table import Table

from shared.errors import HeadraceError
from shared.producer import Producer
from shared.topology import STORE_MESSAGES
from tests.benchmarks.ground import Ground, ground
from tests.benchmarks.our_enqueue import items
from tests.benchmarks.sides import LANES, log_of, worker
from tests.benchmarks.verdict import Bound
from tests.benchmarks.workload import SEED, WORDS, account_ids
from tests.waiting import eventually
from workers.memory.pss import rollup

SAMPLE_SECONDS = 2.0
SEND_SECONDS = 0.1
"""Between two writes of the sender."""
CONVERSATIONS = 10
"""Of each account: 2,000 in all, each seen within the warm-up."""
BURST = 5_000
"""Messages sent at once, each minute of the warm-up: three times what a worker holds. What that takes, Python's allocator keeps.
A machine that stalls for a second later on fills the window as well, and would look like a leak."""
BURST_SECONDS = 60
WARM_PART = 1 / 3
"""Of the whole time, 10 minutes at most: caches fill, and the allocator finds its size."""
WARM_SECONDS_MAX = 600.0

PSS_MB_MAX = 256
SLOPE_MB_MAX = 1.0
"""An hour."""


class Sample(NamedTuple):
    """One look at the worker. Bytes by process: proportional size, its anonymous part, resident size. Connections of everybody to
    Postgres and to the broker, open files of all of the worker's processes."""

    at: float
    pss: dict[str, int]
    anonymous: dict[str, int]
    resident: dict[str, int]
    database: int
    broker: int
    files: int


def main() -> int:
    """Run it, print what was seen, and say whether every bound was met."""
    options = _options()
    say = Console(stderr=True, highlight=False).print
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave through the `with`s, which end every process
    try:
        with ground() as it:
            samples, faults = run(it, options.minutes * 60, options.rate, say)
    except (AssertionError, HeadraceError) as error:
        say(f"{error}", markup=False, style="red")
        return 1
    steady = [each for each in samples if each.at >= warm_seconds(options.minutes * 60)]
    bounds = judged(steady)
    Console().print(_table(steady, options), *_lines(bounds), *faults, sep="\n")
    if options.json:
        options.json.write_text(json.dumps([each._asdict() for each in samples]) + "\n")
    return 0 if not faults and all(bound.met for bound in bounds) else 1


def run(it: Ground, seconds: float, rate: float, say: object) -> tuple[list[Sample], list[str]]:
    """Load one worker for ``seconds``; the samples, and what was stored wrongly."""
    it.reset()
    samples: list[Sample] = []
    warm = warm_seconds(seconds)
    with worker(LANES, it) as child:
        eventually("the worker consumes", child.program.is_ready, within=60)
        sender = Sender(it.broker_url, rate)
        sender.start()
        began, pause, spoke, burst = monotonic(), threading.Event(), 0.0, 0.0
        while (now := monotonic() - began) < seconds:
            samples.append(_sample(it, child.identity.pid, now))
            if burst <= now < warm - BURST_SECONDS / 2:
                burst = now + BURST_SECONDS
                sender.extra = BURST
            if now - spoke >= 60:
                spoke = now
                sizes = ", ".join(f"{name} {size / 2**20:.1f}" for name, size in samples[-1].pss.items())
                say(f"{now / 60:5.1f} min: PSS in MB {sizes}; {sender.sent:,} sent")  # type: ignore[operator]
            pause.wait(SAMPLE_SECONDS)
        sender.stop()
        eventually("all are stored", lambda: it.stored() == sender.sent, within=60)
        replaced = log_of(LANES, it).read_text(errors="replace").count("child replaced for its memory")
    faults = it.faults(sender.sent)
    return samples, [*faults, f"{replaced} children were replaced for their memory"] if replaced else faults


def warm_seconds(seconds: float) -> float:
    """The part of a run that is not judged."""
    return min(WARM_PART * seconds, WARM_SECONDS_MAX)


class Sender(threading.Thread):
    """Sends ``rate`` messages a second until `stop`; ``extra`` messages at once when that is set."""

    def __init__(self, broker_url: str, rate: float) -> None:
        super().__init__(daemon=True)
        self.sent = self.extra = 0
        self._producer, self._rate, self._enough = Producer(broker_url), rate, threading.Event()
        self._random, self._accounts = Random(SEED), account_ids()

    def run(self) -> None:
        began, bursts = monotonic(), 0
        while not self._enough.wait(SEND_SECONDS):
            now, self.extra = self.extra, 0
            bursts += now
            due = int((monotonic() - began) * self._rate) + bursts - self.sent
            self._producer.enqueue_many(STORE_MESSAGES, items([self._message(self.sent + each) for each in range(due)]))
            self.sent += due

    def stop(self) -> None:
        """End it."""
        self._enough.set()
        self.join(30)
        self._producer.close()

    def _message(self, number: int) -> dict[str, object]:
        conversation = self._random.randrange(CONVERSATIONS)
        return {
            "account_id": self._random.choice(self._accounts),
            "message_id": f"soak-{number}",
            "conversation_id": f"conversation-{conversation}",
            "author": {"id": f"customer-{conversation}", "name": f"Customer {conversation}"},
            "text": " ".join(self._random.choices(WORDS, k=self._random.randint(5, 40))),
            "sent_at": "2026-11-24T09:00:00Z",
            "metadata": {"ordinal": number},
        }


def slope(points: list[tuple[float, float]]) -> float:
    """Theil and Sen's estimate of the rise in a unit of the first coordinate; 0 for fewer than two points."""
    rises = [(later[1] - earlier[1]) / (later[0] - earlier[0]) for earlier, later in combinations(points, 2)]
    return median(rises) if rises else 0.0


def _slope_of(name: str, what: str, steady: list[Sample]) -> float:
    """MB/h of a process."""
    sizes = [(each.at, getattr(each, what)) for each in steady]
    return slope([(at / 3600, each[name] / 2**20) for at, each in sizes if name in each])


def judged(steady: list[Sample]) -> list[Bound]:
    """The promises, held against the samples after the warm-up."""
    most = max(sum(each.pss.values()) for each in steady) / 2**20
    bounds = [Bound("PSS of the worker, most", most, PSS_MB_MAX, at_least=False, unit="MB")]
    for name in steady[-1].pss:
        bounds.append(Bound(f"slope of {name}", _slope_of(name, "anonymous", steady), SLOPE_MB_MAX, at_least=False, unit="MB/h"))
    for name in ("database", "broker"):
        counts = [getattr(each, name) for each in steady]
        bounds.append(Bound(f"connections to the {name}, most less least", max(counts) - min(counts), 0, False, "connections"))
    files = [(each.at / 3600, float(each.files)) for each in steady]
    bounds.append(Bound("slope of open files", slope(files), SLOPE_MB_MAX, at_least=False, unit="files/h"))
    return bounds


def _sample(it: Ground, pid: int, at: float) -> Sample:
    parent = psutil.Process(pid)
    children = sorted(parent.children(), key=lambda each: each.pid)
    processes = {"parent": parent, **{f"child-{number}": child for number, child in enumerate(children)}}
    rollups = {name: found for name, process in processes.items() if (found := rollup(process.pid))}
    kinds = ("Pss", "Pss_Anon", "Rss")
    pss, anonymous, resident = ({name: each[kind] for name, each in rollups.items()} for kind in kinds)
    files = sum(process.num_fds() for process in processes.values() if process.is_running())
    ours = "SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend' AND pid <> pg_backend_pid()"
    clients = [client for client in it.broker.client_list() if client["id"] != str(it.broker.client_id())]
    return Sample(at, pss, anonymous, resident, int(it.one(ours)), len(clients), files)


def _table(steady: list[Sample], options: argparse.Namespace) -> Table:
    load = ", ".join(f"{number:.1f}" for number in os.getloadavg())
    table = Table(title=f"soak: {options.minutes:g} min at {options.rate:g}/s, {len(steady)} samples kept, load average {load}")
    for heading in ("", "first, MB", "median", "last", "most", "slope, MB/h"):
        table.add_column(heading, justify="right" if heading else "left")
    for name in steady[-1].pss:
        for what in ("pss", "anonymous", "resident"):
            sizes = [size / 2**20 for each in steady if (size := getattr(each, what).get(name)) is not None]
            numbers = (sizes[0], median(sizes), sizes[-1], max(sizes), _slope_of(name, what, steady))
            table.add_row(f"{name}, {what}", *(f"{number:.1f}" for number in numbers))
    return table


def _lines(bounds: list[Bound]) -> list[str]:
    return [
        f"{'met    ' if bound.met else 'NOT MET'}  {bound.what}: {bound.value:.2f} {bound.unit}, at most {bound.limit:g}"
        for bound in bounds
    ]


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="make soak", description=__doc__)
    parser.add_argument("--minutes", type=float, default=30, help="default 30")
    parser.add_argument("--rate", type=float, default=300, help="messages a second; default 300")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every sample to FILE")
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
