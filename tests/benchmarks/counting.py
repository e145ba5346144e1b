"""Counting: what the metrics cost. A worker drains the same messages with metrics on, as it is shipped, and off, in turn."""

from collections.abc import Callable
from pathlib import Path

from shared.settings import PREFIX
from tests.benchmarks.drain import drain
from tests.benchmarks.ground import Ground
from tests.benchmarks.sides import LANES
from tests.benchmarks.verdict import Series, Verdict, ratio
from tests.benchmarks.workload import in_lanes, messages, plain

RATIO_MIN = 0.97


def run(ground: Ground, *, count: int, rounds: int, say: Callable[[str], None]) -> Verdict:
    """Drain ``count`` messages with metrics on and with metrics off, ``rounds`` times each; who begins takes turns, too."""
    arguments = messages(count)
    queued = in_lanes(plain(ground.broker_url, arguments), arguments)
    shared = ground.directory / "metrics"  # as in a fleet: counted in files
    series = {"on": Series("metrics on", "messages/s", []), "off": Series("metrics off", "messages/s", [])}
    faults = []
    for number in range(rounds):
        for state in ("on", "off") if number % 2 == 0 else ("off", "on"):
            rate = drain(LANES, _told(ground, state, shared), queued)
            series[state].values.append(rate)
            faults += [f"metrics {state}, round {number + 1}: {fault}" for fault in ground.faults(count)]
            say(f"metrics, round {number + 1}: {state} {rate:,.0f} messages/s")
    for name in ("METRICS", "METRICS_DIR"):
        del ground.headrace_environment[PREFIX + name]
    bounds = [ratio("metrics", series["on"], series["off"], RATIO_MIN)]
    return Verdict("metrics", {"messages": count, "rounds": rounds}, list(series.values()), bounds, faults)


def _told(ground: Ground, state: str, directory: Path) -> Ground:
    directory.mkdir(exist_ok=True)
    ground.headrace_environment[f"{PREFIX}METRICS"] = state
    ground.headrace_environment[f"{PREFIX}METRICS_DIR"] = str(directory)
    return ground
