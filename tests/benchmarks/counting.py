"""Counting: what the metrics cost. A worker drains the same messages with metrics on, as it is shipped, and off, in turn.

Held to the bound are the ratio of the rates and that of the CPU time a message takes in the worker and its children. A busy
machine blurs the first, and the second a little; so a third figure is what counting takes when nothing else is done, beside
that CPU time. Starting up does not count: its CPU time is that of a run over a few messages.
"""

import subprocess
import sys
from collections.abc import Callable
from resource import RUSAGE_CHILDREN, getrusage

from shared.settings import PREFIX
from tests.benchmarks.drain import drain
from tests.benchmarks.ground import ROOT, Ground
from tests.benchmarks.sides import LANES
from tests.benchmarks.verdict import Bound, Series, Verdict, ratio
from tests.benchmarks.workload import Queued, in_lanes, messages, plain

RATIO_MIN = 0.97
FEW = 100
STATES = ("on", "off")


def run(ground: Ground, *, count: int, rounds: int, say: Callable[[str], None]) -> Verdict:
    """Drain ``count`` messages with metrics on and with metrics off, ``rounds`` times each; who begins takes turns, too."""
    arguments = messages(count)
    queued = in_lanes(plain(ground.broker_url, arguments), arguments)
    rates = {state: Series(f"metrics {state}", "messages/s", []) for state in STATES}
    costs = {state: Series(f"metrics {state}, CPU of the worker", "µs a message", []) for state in STATES}
    faults = []
    for number in range(rounds):
        for state in STATES if number % 2 == 0 else reversed(STATES):
            _, started = _drained(ground, state, queued[:FEW])
            rate, seconds = _drained(ground, state, queued)
            rates[state].values.append(rate)
            costs[state].values.append((seconds - started) / (count - FEW) * 1e6)
            faults += [f"metrics {state}, round {number + 1}: {fault}" for fault in ground.faults(count)]
            say(f"metrics, round {number + 1}: {state} {rate:,.0f} messages/s, {costs[state].values[-1]:.1f} µs CPU a message")
    alone = Series("counting alone, CPU", "µs a message", [_alone(ground) for _ in range(rounds)])
    bounds = [
        ratio("metrics", rates["on"], rates["off"], RATIO_MIN),
        Bound("metrics: CPU a message, off / on", costs["off"].median / costs["on"].median, RATIO_MIN),
        Bound("metrics: CPU of counting alone, share", alone.median / costs["off"].median, 1 - RATIO_MIN, at_least=False),
    ]
    return Verdict("metrics", {"messages": count, "rounds": rounds}, [*rates.values(), *costs.values(), alone], bounds, faults)


def _drained(ground: Ground, state: str, queued: list[Queued]) -> tuple[float, float]:
    """Messages a second, and the CPU seconds of a worker from its start to its end."""
    directory = ground.directory / "metrics"  # as in a fleet: counted in files
    directory.mkdir(exist_ok=True)
    told = {f"{PREFIX}METRICS": state, f"{PREFIX}METRICS_DIR": str(directory)}
    ground.headrace_environment.update(told)
    before = _cpu_seconds()
    try:
        return drain(LANES, ground, queued), _cpu_seconds() - before
    finally:
        for name in told:
            del ground.headrace_environment[name]


def _alone(ground: Ground) -> float:
    environment = {**ground.headrace_environment, f"{PREFIX}METRICS_DIR": str(ground.directory / "metrics")}
    command = [sys.executable, "-m", "tests.benchmarks.counting_alone"]
    return float(subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=True).stdout)


def _cpu_seconds() -> float:
    """Of this process's children that have ended, and of theirs."""
    used = getrusage(RUSAGE_CHILDREN)
    return used.ru_utime + used.ru_stime
