"""A rolling restart under load: the account of every message, and of every request.

The short form renews the ingress, twice, and a worker; the long one every process, under 500 messages a second.
"""

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.chaos.form import LONG, sized
from tests.chaos.report import show
from tests.conftest import RunningStack
from tests.factory import count
from tests.local_fleet import Fleet, environment, new_fleet
from tests.waiting import eventually

RATE = sized(200, 500)
DURATION_SECONDS_MAX = 300
ACCOUNTS = 100
"""So many that none meets the bound on an account's backlog, on however busy a machine."""

NAMES: list[str] = [] if LONG else ["ingress", "worker"]
"""All, in the long form."""

RESTARTS = sized(2, 3)


@pytest.fixture
def fleet(reachable_dir: Path, clean: RunningStack) -> Iterator[Fleet]:
    """On the servers that are there, which spares the start of others."""
    for it in new_fleet(reachable_dir, "rolling"):
        urls = {name: value for name, value in clean.environment.items() if name.endswith("_URL")}
        ended = it.up("--workers", str(sized(1, 2)), **urls)
        assert ended.returncode == 0, ended.stderr
        yield it


def pids(fleet: Fleet) -> dict[str, int]:
    return {each["name"]: each["pid"] for each in fleet.status()["processes"]}


def test_under_load_no_request_fails_and_nothing_is_lost_or_reordered(fleet: Fleet, tmp_path: Path) -> None:
    report_file = tmp_path / "report.json"
    words = ("load", "run", "--rate", RATE, "--duration", DURATION_SECONDS_MAX, "--via", "api", "--accounts", ACCOUNTS)
    load = subprocess.Popen(
        [sys.executable, "-m", "workers.cli.main", *map(str, words), "--json", str(report_file)],
        env=environment({"HEADRACE_DATA_DIR": str(fleet.data_dir)}),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    try:
        eventually("load comes in", lambda: count("SELECT count(*) FROM messages") > RATE, within=60)
        before = pids(fleet)
        for _ in range(RESTARTS):
            ended = fleet.headrace("restart", *NAMES)
            assert ended.returncode == 0, ended.stderr
        after = pids(fleet)
        load.send_signal(signal.SIGINT)
        output, _ = load.communicate(timeout=120)
    finally:
        load.kill()
    assert load.returncode == 0, output
    report: dict[str, Any] = json.loads(report_file.read_bytes())
    assert report["refusals"] == {}, "no request failed"
    assert (report["lost"], report["reordered"], report["duplicated"]) == (0, 0, 0)
    assert report["accepted"] == report["stored"] == report["sent"] > RATE
    renewed = {name for name in after if after[name] != before[name]}
    assert renewed >= {"ingress", "worker-1"}
    if LONG:
        assert renewed == before.keys()
    whole = report["latency_ms"]["due_to_committed"]["max"] / 1000
    show("6", "rolling restart, each process new", injections=RESTARTS * len(renewed), messages=report["stored"], seconds=whole)
