"""Two versions side by side on one broker and one database: nothing is lost, and every conversation stays in order.

Once with a made-up next version, which writes what this one does not know, and once with an earlier commit, where there is one.
"""

import http.client
import json
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import NamedTuple

import psycopg
import pytest

from tests.conftest import RunningStack, free_ports
from tests.factory import as_json
from tests.foreground import status
from tests.versions import ROOT, OfVersion, earlier_tree, newer_tree, run_verb
from tests.waiting import eventually

CONVERSATIONS = 40
ROUNDS_A_PHASE = 6


class Pair(NamedTuple):
    """Two trees of source."""

    old: Path
    new: Path


@pytest.fixture(params=["this and a next one", "an earlier one and this"])
def pair(request: pytest.FixtureRequest, tmp_path: Path) -> Pair:
    if request.param == "this and a next one":
        return Pair(ROOT, newer_tree(tmp_path))
    earlier = earlier_tree(tmp_path)
    if earlier is None:
        pytest.skip("the earlier commit is not in this repository: a shallow clone, or no git")
    return Pair(earlier, ROOT)


@pytest.fixture
def environment(clean: RunningStack) -> Iterator[dict[str, str]]:
    """A database of its own, which the next version's migration may change, and a number of its own in the broker."""
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        connection.execute("DROP DATABASE IF EXISTS upgrade WITH (FORCE)")
        connection.execute("CREATE DATABASE upgrade")
        before, _, options = clean.database_url.partition("?")
        url = before.rpartition("/")[0] + "/upgrade" + ("?" + options if options else "")
        yield {
            "HEADRACE_DATA_DIR": str(clean.data_dir / "none"),
            "HEADRACE_DATABASE_URL": url,
            "HEADRACE_BROKER_URL": clean.broker_url.rpartition("/")[0] + "/1",
            "HEADRACE_CACHE_URL": clean.cache_url,
        }
        connection.execute("DROP DATABASE upgrade WITH (FORCE)")


class Traffic:
    """Sends one message of each conversation at a time, in an order that is known, through any ingress."""

    def __init__(self, api_key: str) -> None:
        self._headers = {"Authorization": f"Bearer {api_key}", "Content-Type": "application/json"}
        self.rounds = 0

    def send(self, *ports: int) -> None:
        """Some rounds, taking turns among the ingresses."""
        for _ in range(ROUNDS_A_PHASE):
            messages = [as_json(f"c{number}-{self.rounds:04d}", f"c{number}") for number in range(CONVERSATIONS)]
            connection = http.client.HTTPConnection("127.0.0.1", ports[self.rounds % len(ports)], timeout=20)
            connection.request("POST", "/v1/messages", json.dumps(messages).encode(), self._headers)
            answer = connection.getresponse()
            assert answer.status == 202, answer.read()
            connection.close()
            self.rounds += 1

    def expected(self) -> dict[str, list[str]]:
        """Conversation -> its messages, in order."""
        return {f"c{number}": [f"c{number}-{each:04d}" for each in range(self.rounds)] for number in range(CONVERSATIONS)}


def stored(database_url: str) -> dict[str, list[str]]:
    with psycopg.connect(database_url) as connection:
        assert connection.execute("SELECT count(*) FROM dead_letters").fetchone() == (0,)
        return dict(
            connection.execute(
                "SELECT c.external_id, array_agg(m.message_id ORDER BY m.sequence) FROM messages m"
                " JOIN conversations c ON c.id = m.conversation_id GROUP BY 1"
            ).fetchall()
        )


Start = Callable[[str, Path, str], tuple[OfVersion, int]]


@pytest.fixture
def start(environment: dict[str, str]) -> Iterator[Start]:
    """Starts a process of a version; all are gone at the end."""
    with ExitStack() as ending:

        def started(name: str, tree: Path, verb: str) -> tuple[OfVersion, int]:
            port = free_ports(1)
            it = OfVersion(name, tree, verb, {**environment, "HEADRACE_INGRESS_PORT": str(port)})
            ending.callback(it.teardown)
            it.start()
            if verb == "worker":
                it.ready()
            else:
                eventually(f"{name} answers", lambda: answers(it, port), within=40)
            return it, port

        yield started


def answers(process: OfVersion, port: int) -> bool:
    assert process.status == "running", process.logs()[-3000:]
    with suppress(OSError):
        return status(f"http://127.0.0.1:{port}/readyz") == 200
    return False


def test_two_versions_side_by_side_lose_and_reorder_nothing_on_the_way_there_and_back(
    pair: Pair, environment: dict[str, str], start: Start
) -> None:
    run_verb(pair.old, environment, "db", "upgrade")
    traffic = Traffic(json.loads(run_verb(pair.old, environment, "account", "create", "tenant", "--json"))["api_key"])
    old_edge, old_port = start("old-edge", pair.old, "ingress")
    old_worker, _ = start("old-worker", pair.old, "worker")
    traffic.send(old_port)

    run_verb(pair.new, environment, "db", "upgrade")
    traffic.send(old_port)
    _, new_port = start("new-edge", pair.new, "ingress")
    new_worker, _ = start("new-worker", pair.new, "worker")
    traffic.send(old_port, new_port)
    old_edge.drain()
    traffic.send(new_port)
    old_worker.drain()
    traffic.send(new_port)

    start("old-worker-again", pair.old, "worker")
    traffic.send(new_port)
    new_worker.drain()
    traffic.send(new_port)
    database_url = environment["HEADRACE_DATABASE_URL"]
    eventually("all are stored", lambda: stored(database_url) == traffic.expected(), within=60, every=0.3)
