"""Scaling: a handler slowed to 300 messages a second a worker, and load that steps from 50 to 1,000 a second and back.

A fleet of `headrace up --workers 1 --workers-max 6` on this machine, its autoscaler as it comes. The load is `headrace load run`,
twice: 50 a second all the time, and 950 more between the steps; each accounts for every message of its own. Lag is the age
of the oldest waiting message, looked at four times a second; the time from accepted to stored is in every row.
"""

import json
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from shared.settings import settings
from tests.benchmarks.ground import ROOT, Ground
from tests.benchmarks.verdict import Bound, Series, Verdict
from tests.conftest import free_ports
from tests.waiting import eventually
from workers.autoscaler import sample
from workers.local.record import load as load_record

WORKER_RATE = 300
"""What `tests.slowed_store` makes of a worker of two children; imported here it would want a running fleet's settings."""

FLOOR_RATE, STEP_RATE = 50, 950
WORKERS_MAX = 6
CALM_SECONDS = 15
LAG_SECONDS_MAX = 2.0
RECOVERY_SECONDS_MAX = 60
FLOOR_SECONDS_MAX = 600
LOOK_SECONDS = 0.25
ACCOUNTS = 40
"""So many that none meets the bound on an account's backlog."""

SLOW = """
SELECT coalesce(extract(epoch FROM max(received_at)) - %s, 0) FROM messages
WHERE stored_at - received_at > make_interval(secs => %s) AND message_id NOT LIKE 'seed-%%'
"""


class Step(NamedTuple):
    """The looks from the step on; when it came, since 1970; when the load went and when one worker was left, since it came."""

    looks: list["Look"]
    began: float
    down_at: float
    floor_at: float


class Look(NamedTuple):
    """At one moment, seconds since the step: the lag, the backlog, and how many workers run."""

    at: float
    lag_seconds: float
    backlog: int
    workers: int


def run(ground: Ground, *, step_seconds: float, say: Callable[[str], None]) -> Verdict:
    """Step up for ``step_seconds``, then down, and wait for the floor."""
    ground.reset()
    directory = ground.directory / "scaling"
    with _fleet(ground, directory) as environment:
        floor = _load(environment, FLOOR_RATE, CALM_SECONDS + step_seconds + FLOOR_SECONDS_MAX, directory / "floor.json")
        try:
            eventually("the floor's load comes in", lambda: ground.stored() > CALM_SECONDS * FLOOR_RATE, within=60)
            step = _step(ground, environment, directory, step_seconds, say)
            floor.send_signal(signal.SIGINT)
            floor.wait(120)
        finally:
            floor.kill()
        reports = [json.loads((directory / f"{name}.json").read_bytes()) for name in ("floor", "step")]
    return _verdict(ground, step, reports)


def _verdict(ground: Ground, step: Step, reports: list[dict[str, Any]]) -> Verdict:
    late = [look.at for look in step.looks if look.lag_seconds > LAG_SECONDS_MAX and look.at <= step.down_at]
    recovered = max(late, default=0.0)
    slow = max(0.0, float(ground.one(SLOW, step.began, LAG_SECONDS_MAX)))
    floor = step.floor_at - step.down_at
    bounds = [
        Bound(f"lag back under {LAG_SECONDS_MAX:g} s after the step", recovered, RECOVERY_SECONDS_MAX, at_least=False, unit="s"),
        Bound(
            f"the last message that took longer than {LAG_SECONDS_MAX:g} s to store, after the step",
            slow,
            RECOVERY_SECONDS_MAX,
            at_least=False,
            unit="s",
        ),
        Bound("back to one worker after the load went", floor, FLOOR_SECONDS_MAX, at_least=False, unit="s"),
        Bound("messages lost", sum(each["lost"] for each in reports), 0, at_least=False, unit=""),
        Bound("messages reordered", sum(each["reordered"] for each in reports), 0, at_least=False, unit=""),
    ]
    accepted, uncertain, unsent = (sum(each[name] for each in reports) for name in ("accepted", "uncertain", "unsent"))
    faults = [f"a load run was not clean: {each['run']}" for each in reports if not each["clean"]]
    faults += _miscounted(ground.stored(), accepted, uncertain)
    faults += [f"{unsent:,} messages were due and never sent: the load was lower than said"] if unsent > accepted / 100 else []
    series = [
        Series("lag", "s", [look.lag_seconds for look in step.looks]),
        Series("backlog", "messages", [float(look.backlog) for look in step.looks]),
        Series("workers", "", [float(look.workers) for look in step.looks]),
    ]
    parameters = {
        "messages": accepted,
        "uncertain": uncertain,
        "unsent": unsent,
        "a worker does, messages/s": WORKER_RATE,
        "workers max": WORKERS_MAX,
    }
    return Verdict("scaling", parameters, series, bounds, faults)


def _miscounted(rows: int, accepted: int, uncertain: int) -> list[str]:
    """A message whose answer was lost or came too late may be stored all the same; any other row must have been accepted."""
    if accepted <= rows <= accepted + uncertain:
        return []
    return [f"{rows} rows of {accepted} messages accepted and {uncertain} whose answer did not come"]


def _step(ground: Ground, environment: dict[str, str], directory: Path, seconds: float, say: Callable[[str], None]) -> Step:
    step = _load(environment, STEP_RATE, seconds, directory / "step.json")
    rate_before = ground.stored()
    eventually("the step's load comes in", lambda: ground.stored() > rate_before + 3 * FLOOR_RATE, within=60)
    began = time.time()
    begun, looks, pause, shown = time.monotonic(), [], threading.Event(), 0
    down_at = 0.0
    while True:
        look = _look(ground, directory, time.monotonic() - begun)
        looks.append(look)
        if look.workers != shown:
            shown = look.workers
            say(f"scaling: {look.at:6.1f} s: {look.workers} workers, lag {look.lag_seconds:.1f} s, backlog {look.backlog:,}")
        if not down_at and step.poll() is not None:
            down_at = min(look.at, seconds)
        if down_at and look.workers == 1:
            return Step(looks, began, down_at, look.at)
        assert look.at < seconds + FLOOR_SECONDS_MAX + 120, "the fleet does not shrink"
        pause.wait(LOOK_SECONDS)


def _look(ground: Ground, directory: Path, at: float) -> Look:
    taken = sample.take(ground.broker, settings().queues, at, time.time())
    processes = load_record(directory / "fleet").processes
    workers = sum(1 for each in processes if each.name.startswith("worker-") and each.state == "running")
    return Look(at, taken.oldest_seconds, taken.backlog, workers)


@contextmanager
def _fleet(ground: Ground, directory: Path) -> Iterator[dict[str, str]]:
    directory.mkdir()
    environment = {**ground.headrace_environment, "HEADRACE_TASK_MODULES": "tests.slowed_store"}
    fleet = ["--data-dir", str(directory / "fleet")]
    words = [*fleet, "--detach", "--port", str(free_ports()), "--workers", "1", "--workers-max", str(WORKERS_MAX)]
    subprocess.run(_headrace("up", *words), cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)
    try:
        yield {**ground.headrace_environment, "HEADRACE_DATA_DIR": str(directory / "fleet")}
    finally:
        subprocess.run(_headrace("down", *fleet), cwd=ROOT, env=environment, check=True, stdout=subprocess.DEVNULL)


def _load(environment: dict[str, str], rate: float, seconds: float, report: Path) -> subprocess.Popen[bytes]:
    words = ("--rate", rate, "--duration", seconds, "--accounts", ACCOUNTS, "--via", "api", "--keep", "--json", report)
    with report.with_suffix(".log").open("ab") as log:
        return subprocess.Popen(_headrace("load", "run", *map(str, words)), env=environment, stdout=log, stderr=log)


def _headrace(*words: str) -> list[str]:
    return [sys.executable, "-m", "workers.cli.main", *words]
