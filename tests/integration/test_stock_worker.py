"""A stock Celery worker runs what our producer sends."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.producer import Item, Producer
from shared.topology import STORE_MESSAGES, lane_of, lane_queue
from tests.redis_server import EMBEDDED, RedisServer, running
from tests.waiting import eventually

pytestmark = pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")

ROOT = Path(__file__).parents[2]
TEXT = 'line\n"quoted" \\ \u2028 ü 😀'
LANE = lane_queue("messages", lane_of("a", "c"))


@pytest.fixture
def server(tmp_path: Path) -> Iterator[RedisServer]:
    with running(EMBEDDED, tmp_path) as it:
        yield it


@pytest.fixture
def worker(server: RedisServer, tmp_path: Path) -> Iterator[Path]:
    """A stock worker; its log."""
    command = [sys.executable, "-m", "celery", "-A", "tests.stock_worker", "worker", "--pool", "solo", "-l", "INFO"]
    log = tmp_path / "worker.log"
    with log.open("wb") as output:
        process = subprocess.Popen(
            [*command, "-Q", f"maintenance,{LANE}", "--without-mingle", "--without-gossip"],
            cwd=ROOT,
            env={**os.environ, "STOCK_BROKER_URL": server.url},
            stdout=output,
            stderr=output,
        )
    try:
        yield log
    finally:
        process.kill()
        process.wait()


def test_a_stock_worker_runs_them_in_order_with_their_ids_and_arguments(server: RedisServer, worker: Path) -> None:
    producer = Producer(server.url)
    first = producer.enqueue("maintenance.note", {"text": TEXT})
    producer.enqueue_many("maintenance.note", [Item(number) for number in range(50)])
    retried = producer.enqueue(STORE_MESSAGES, {"text": TEXT}, account_id="a", order_key="c")
    producer.enqueue("maintenance.note", "later", delay=1)
    with redis.Redis(port=server.port, db=1) as notes:
        eventually("the stock worker ran them", lambda: notes.llen("noted") == 53, within=40)
        noted = [json.loads(each) for each in notes.lrange("noted", 0, -1)]
    assert ["maintenance.note", first, first, {"text": TEXT}] in noted
    assert [STORE_MESSAGES, retried, retried, {"text": TEXT}] in noted, "its retry kept all that the message came with"
    assert [each for *_, each in noted if isinstance(each, int)] == list(range(50))
    assert noted[-1][3] == "later"
    assert "quoted" not in worker.read_text(), "a stock worker's log shows (...) and never the arguments"
