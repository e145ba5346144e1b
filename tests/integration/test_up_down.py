"""`headrace up`, `status` and `down` on the real thing: every process of a fleet, from a start to nothing left."""

import json
import os
import signal
import subprocess
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.conftest import free_ports
from tests.foreground import status as http_status
from tests.local_fleet import Fleet, environment, new_fleet
from tests.waiting import eventually

PROCESSES = ["postgres", "broker", "cache", "ingress", "beat", "worker-1", "worker-2", "flower", "exporter"]


@pytest.fixture
def fleet(reachable_dir: Path, request: pytest.FixtureRequest) -> Iterator[Fleet]:
    """A fleet for one test."""
    yield from new_fleet(reachable_dir, request.node.name[:40])


@pytest.fixture(scope="module")
def shared_fleet(reachable_dir: Path) -> Iterator[Fleet]:
    """A running fleet of two workers, for tests that leave it running."""
    for it in new_fleet(reachable_dir, "shared"):
        ended = it.up("--workers", "2")
        assert ended.returncode == 0, ended.stderr
        yield it


def test_status_tells_everything_that_runs_and_where(shared_fleet: Fleet) -> None:
    status = shared_fleet.status()
    assert list(status) == [
        *("ready", "ingress_url", "flower_url", "flower_user", "flower_password", "metrics_url"),
        *("database_url", "broker_url", "cache_url", "processes", "queues", "dead_letters", "recycles"),
    ]
    assert status["ready"] is True
    assert [each["name"] for each in status["processes"]] == PROCESSES
    for process in status["processes"]:
        assert list(process) == ["name", "pid", "state", "restarts", "pss_bytes", "health_url"]
        assert (process["state"], process["restarts"]) == ("running", 0)
        assert 2**20 < process["pss_bytes"] < 512 * 2**20
    assert [list(each) for each in status["queues"]] == [["name", "depth", "in_flight", "oldest_age_seconds"]] * 3
    assert status["dead_letters"] == 0


def test_what_status_names_answers(shared_fleet: Fleet) -> None:
    status = shared_fleet.status()
    assert status["ingress_url"] == f"http://127.0.0.1:{shared_fleet.port}"
    assert http_status(status["ingress_url"] + "/readyz") == 200
    assert http_status(status["metrics_url"]) == 200
    urls = {each["name"]: each["health_url"] for each in status["processes"] if each["health_url"]}
    assert urls.keys() == {"worker-1", "worker-2"}
    for url in urls.values():
        assert [http_status(f"{url}{path}") for path in ("/livez", "/readyz", "/metrics")] == [200, 200, 200]
    assert http_status(status["flower_url"] + "/api/workers") == 401
    assert http_status(status["flower_url"] + "/api/workers", status["flower_user"], status["flower_password"]) == 200


def test_a_message_posted_with_the_demo_accounts_key_is_stored(shared_fleet: Fleet) -> None:
    key = json.loads((shared_fleet.data_dir / "fleet.json").read_bytes())["demo"]["api_key"]
    message = {"message_id": "m-1", "conversation_id": "c-1", "author": {"id": "u-1"}, "text": "hello"}
    message["sent_at"] = "2026-11-24T09:00:00Z"

    def call(path: str, body: bytes | None = None) -> dict[str, Any]:
        url = f"http://127.0.0.1:{shared_fleet.port}{path}"
        headers = {"Authorization": f"Bearer {key}", "Content-Type": "application/json"}
        with urllib.request.urlopen(urllib.request.Request(url, body, headers), timeout=10) as answer:
            found: dict[str, Any] = json.load(answer)
        return found

    assert call("/v1/messages", json.dumps(message).encode()) == {"accepted": 1}
    eventually("it is stored", lambda: call("/v1/stats")["messages"] == 1)


def test_a_second_fleet_in_the_same_directory_is_refused_in_one_line(shared_fleet: Fleet) -> None:
    ended = shared_fleet.up()
    assert ended.returncode == 1
    assert "already (pid" in ended.stderr
    assert len(ended.stderr.splitlines()) == 1
    assert shared_fleet.status()["ready"]


def test_a_worker_that_is_killed_is_running_again_soon(shared_fleet: Fleet) -> None:
    def worker() -> dict[str, Any]:
        return next(each for each in shared_fleet.status()["processes"] if each["name"] == "worker-2")

    before = worker()
    os.kill(before["pid"], signal.SIGKILL)

    def again() -> bool:
        now = worker()
        return now["state"] == "running" and now["pid"] != before["pid"] and now["restarts"] == before["restarts"] + 1

    eventually("it runs again", again, within=60, every=0.5)


def test_what_a_killed_supervisor_left_is_ended_by_the_next_up_or_down(fleet: Fleet) -> None:
    first = fleet.up()
    assert first.returncode == 0, first.stderr
    assert "API key" in first.stdout
    before = fleet.status()
    fleet.kill_supervisor()
    assert fleet.left()
    assert fleet.headrace("status").returncode == 1

    second = fleet.up()
    assert second.returncode == 0, second.stderr
    assert "API key" not in second.stdout
    after = fleet.status()
    assert not {each["pid"] for each in before["processes"]} & {each["pid"] for each in after["processes"]}
    assert {each: before[each] for each in before if each.endswith("e_url")} == {
        each: after[each] for each in after if each.endswith("e_url")
    }
    fleet.kill_supervisor()
    stopped = fleet.headrace("down")
    assert (stopped.returncode, stopped.stdout.splitlines()[-1]) == (0, "stopped")
    assert fleet.left() == []


def test_in_the_foreground_ctrl_c_drains_and_stops_everything(fleet: Fleet) -> None:
    command = fleet.command("up", "--port", str(fleet.port))
    with subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        ready = next(line for line in supervisor.stdout if "ready" in line.split())
        assert str(fleet.port) in ready
        supervisor.send_signal(signal.SIGINT)
        assert supervisor.wait(40) == 0
        assert "postgres  stopped" in supervisor.stdout.read()
    assert fleet.left() == []


@pytest.mark.parametrize("detach", [["--detach"], []])
def test_a_database_that_does_not_answer_fails_the_start_in_one_line_and_leaves_nothing(fleet: Fleet, detach: list[str]) -> None:
    nobody = f"postgresql://me@127.0.0.1:{free_ports(1)}/none"
    ended = fleet.headrace("up", "--port", str(fleet.port), *detach, HEADRACE_DATABASE_URL=nobody)
    assert ended.returncode == 1
    (line,) = ended.stderr.splitlines()
    assert "refused" in line
    assert "HEADRACE_DATABASE_URL" in line
    assert fleet.left() == []


def test_a_signal_during_the_start_stops_what_was_started(fleet: Fleet) -> None:
    command = fleet.command("up", "--port", str(fleet.port))
    with subprocess.Popen(command, env=environment({}), stdout=subprocess.PIPE, text=True) as supervisor:
        assert supervisor.stdout
        next(line for line in supervisor.stdout if "worker-1" in line)
        supervisor.terminate()
        assert supervisor.wait(40) == 0
    assert fleet.left() == []


def test_down_where_nothing_runs_says_so_and_makes_nothing(fleet: Fleet) -> None:
    ended = fleet.headrace("down")
    assert (ended.returncode, ended.stdout) == (0, f"nothing was running in {fleet.data_dir}\n")
    assert not fleet.data_dir.exists()
