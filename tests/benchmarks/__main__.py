"""`make bench`: every benchmark against its stated peer, in one run. Exit code 1 when a bound is not met."""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from importlib.metadata import version
from pathlib import Path

from rich.console import Console

from shared.errors import HeadraceError
from tests.benchmarks import (
    cache,
    cache_choices,
    cache_outage,
    checkout,
    copy,
    counting,
    drain,
    enqueue,
    fairness,
    idle,
    queries,
    scaling,
    tuning,
)
from tests.benchmarks.ground import Ground, ground
from tests.benchmarks.verdict import Verdict

CORES = 2
"""Everything, servers included, runs on these: the machine that the bounds are stated for."""

LOAD_QUIET_MAX = 0.5
_NOISY = ": something else runs on this machine, which slows a peer that waits for each answer more than one that does not"

MESSAGES_MIN = 100
"""A tenth of them is stored before the clock starts."""

ROWS_MIN = 100_000
"""A row or more for each of its conversations."""

QUICK_MESSAGES, QUICK_ROWS = 500, 200_000

IDLE_SECONDS, LATENCIES = 20.0, 200
QUICK_IDLE_SECONDS, QUICK_LATENCIES = 2.0, 20

STEP_SECONDS, QUICK_STEP_SECONDS = 90.0, 20.0
"""The high load lasts: half as long again as the time within which it must be caught up with."""

BENCHMARKS: dict[str, Callable[[Ground, argparse.Namespace, Callable[[str], None]], Verdict]] = {
    "drain": lambda it, options, say: drain.run(it, count=options.messages, rounds=options.rounds, say=say),
    "enqueue": lambda it, options, say: enqueue.run(it, count=options.messages, rounds=options.rounds, say=say),
    "idle": lambda it, options, say: idle.run(it, seconds=options.idle_seconds, count=options.latencies, say=say),
    "fairness": lambda it, options, say: fairness.run(it, seconds=options.idle_seconds, say=say),
    "copy": lambda it, options, say: copy.run(it, count=options.messages, rounds=options.rounds, say=say),
    "queries": lambda it, options, say: queries.run(it, rows=options.rows, seconds=options.idle_seconds, say=say),
    "checkout": lambda it, options, say: checkout.run(it, count=options.messages, rounds=options.rounds, say=say),
    "cache": lambda it, options, say: cache.run(it, operations=2_000 if options.quick else 100_000, say=say),
    "cache_outage": lambda it, options, say: cache_outage.run(it, seconds=6 if options.quick else 30, say=say),
    "cache_choices": lambda it, _, say: cache_choices.run(it, say=say),
    "scaling": lambda it, options, say: scaling.run(it, step_seconds=options.step_seconds, say=say),
    "metrics": lambda it, options, say: counting.run(it, count=options.messages, rounds=options.rounds, say=say),
    "tuning": lambda it, options, say: tuning.run(it, count=options.messages, rounds=options.rounds, say=say),
}
BY_NAME = ("tuning", "scaling", "cache_choices", "cache_outage")
BOUNDED = [name for name in BENCHMARKS if name not in BY_NAME]
"""Those with a peer; sweeps over what was chosen, and a fleet that grows, shrinks or lacks its cache, take minutes."""


def main() -> int:
    """Run what was asked for, print it, and say whether every bound was met."""
    options = _options()
    os.sched_setaffinity(0, set(sorted(os.sched_getaffinity(0))[:CORES]))
    out, progress = Console(), Console(stderr=True, highlight=False)
    report = {"started_at": datetime.now(UTC).isoformat(timespec="seconds"), **_machine(), "load_before": os.getloadavg()}
    progress.print(f"load average {os.getloadavg()[0]:.1f}{_NOISY if os.getloadavg()[0] > LOAD_QUIET_MAX else ''}")
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # leave through the `with`s, which end every process
    try:
        with ground() as it:
            verdicts = [BENCHMARKS[name](it, options, progress.print) for name in options.only]
    except (AssertionError, HeadraceError, subprocess.CalledProcessError) as error:
        progress.print(f"{error}", markup=False, style="red")
        return 1
    for verdict in verdicts:
        out.print(*verdict.as_tables(), *verdict.faults, sep="\n")
        report[verdict.name] = verdict.as_json()
    if options.json:
        options.json.write_text(json.dumps({**report, "load_after": os.getloadavg()}, indent=2) + "\n")
    return 0 if all(verdict.met for verdict in verdicts) else 1


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.benchmarks", description=__doc__)
    names = ",".join(BENCHMARKS)
    parser.add_argument(
        "--only", type=_chosen, default=BOUNDED, metavar=names, help=f"which; default: all but {', '.join(BY_NAME)}"
    )
    parser.add_argument("--messages", type=_at_least(MESSAGES_MIN), default=20_000, help="in one run of one side; default 20000")
    parser.add_argument("--rows", type=_at_least(ROWS_MIN), default=5_000_000, help="of `queries`; default 5000000")
    parser.add_argument("--rounds", type=_at_least(1), default=3, help="of each side; default 3")
    parser.add_argument("--quick", action="store_true", help="tiny sizes: shows that it runs, its numbers mean nothing")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured to FILE")
    options = parser.parse_args()
    options.idle_seconds, options.latencies, options.step_seconds = IDLE_SECONDS, LATENCIES, STEP_SECONDS
    if options.quick:
        options.messages, options.rows, options.rounds = QUICK_MESSAGES, QUICK_ROWS, 1
        options.idle_seconds, options.latencies, options.step_seconds = QUICK_IDLE_SECONDS, QUICK_LATENCIES, QUICK_STEP_SECONDS
    return options


def _at_least(lowest: int) -> Callable[[str], int]:
    def number(text: str) -> int:
        if not text.isdecimal() or int(text) < lowest:
            raise argparse.ArgumentTypeError(f"{text!r} is not a whole number of {lowest} or more")
        return int(text)

    return number


def _chosen(names: str) -> list[str]:
    chosen = names.split(",")
    if unknown := set(chosen) - BENCHMARKS.keys():
        raise argparse.ArgumentTypeError(f"no benchmark {', '.join(sorted(unknown))}; there are {', '.join(BENCHMARKS)}")
    return chosen


def _machine() -> dict[str, object]:
    versions = {name: version(name) for name in ("headrace", "celery", "kombu", "redis", "psycopg", "sqlalchemy")}
    return {"cores": CORES, "python": platform.python_version(), "versions": versions}


if __name__ == "__main__":
    sys.exit(main())
