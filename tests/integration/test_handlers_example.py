"""docs/handlers.md, taken at its word: its example runs in a worker, and each outcome does what the page says."""

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestWorker

from shared.broker import keys
from shared.clock import wall_seconds
from shared.producer import Item, Producer
from tests.conftest import RunningStack
from tests.factory import count, rows
from tests.waiting import eventually

PAGE = Path(__file__).parents[2] / "docs" / "handlers.md"
TASK = "audits.keep"

StartWorker = Callable[..., CeleryTestWorker]


@pytest.fixture
def example(tmp_path: Path, clean: RunningStack) -> Iterator[dict[str, str]]:
    """The page's module and table; the environment of a worker that has them."""
    source = re.findall(r"```python\n(.*?)```", PAGE.read_text(), re.DOTALL)[0]
    (tmp_path / "audits.py").write_text(source)
    table = re.search(r"CREATE TABLE audits \(.*?\)(?=\.)", source)
    assert table, "the module says how to make its table"
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        connection.execute(table[0])
        yield {"PYTHONPATH": str(tmp_path), "HEADRACE_TASK_MODULES": "audits", "HEADRACE_TASK_QUEUES": "audits"}
        connection.execute("DROP TABLE audits")


@pytest.fixture
def producer(clean: RunningStack) -> Iterator[Producer]:
    it = Producer(clean.broker_url, own_queues=["audits"])
    yield it
    it.close()


def audit(number: int, **more: object) -> dict[str, object]:
    return {"id": f"a-{number}", "actor": "ada", "action": "login", **more}


def kept() -> int:
    return count("SELECT count(*) FROM audits")


def test_its_messages_are_kept_once_however_often_they_come(
    example: dict[str, str], start_worker: StartWorker, producer: Producer, stock_client: Celery, broker: redis.Redis
) -> None:
    start_worker(**example)
    for _ in range(2):
        producer.enqueue_many(TASK, [Item(audit(number)) for number in range(100)])
    stock_client.send_task(TASK, args=[audit(100)], queue="audits")
    producer.enqueue(TASK, audit(101), delay=1)
    eventually("all are kept", lambda: kept() == 102, within=30)
    eventually("the queue is empty", lambda: not broker.llen("audits"))
    assert count("SELECT count(*) FROM dead_letters") == 0


def test_a_retry_waits_in_the_broker_and_comes_back_and_its_neighbours_go_on(
    example: dict[str, str], start_worker: StartWorker, producer: Producer, broker: redis.Redis
) -> None:
    start_worker(**example)
    secret_until = wall_seconds() + 4
    producer.enqueue_many(TASK, [Item(audit(1, secret_until=secret_until)), Item(audit(2))])
    eventually("the neighbour is kept", lambda: kept() == 1)
    eventually("the retry waits in the broker", lambda: broker.zcard(keys.DELAYED) == 1, every=0.01)
    assert wall_seconds() < secret_until, "or the test was too slow to see it"
    eventually("it came back", lambda: kept() == 2)
    assert broker.zcard(keys.DELAYED) == 0


def test_a_dead_letter_is_kept_whole_with_its_reason_and_its_neighbours_go_on(
    example: dict[str, str], start_worker: StartWorker, producer: Producer
) -> None:
    start_worker(**example)
    producer.enqueue_many(TASK, [Item({"id": "a-1", "actor": 7, "action": "login"}), Item(audit(2))])
    letter = eventually("it is given up", lambda: rows("SELECT queue, task, reason, body FROM dead_letters"))[0]
    assert (letter.queue, letter.task) == ("audits", TASK)
    assert letter.reason.startswith("invalid audit: actor")
    assert b'"actor":7' in bytes(letter.body)
    eventually("the neighbour is kept", lambda: kept() == 1)


@pytest.mark.parametrize(
    ("changes", "mend"),
    [
        ({"HEADRACE_TASK_QUEUES": ""}, "HEADRACE_TASK_QUEUES: nobody would consume 'audits.keep'; add 'audits'"),
        ({"HEADRACE_TASK_MODULES": "audit"}, "HEADRACE_TASK_MODULES: there is no module 'audit'"),
        ({"HEADRACE_TASK_QUEUES": "messages"}, "HEADRACE_TASK_QUEUES: 'messages' is Headrace's own"),
    ],
)
def test_a_worker_that_could_not_run_it_says_what_to_set(
    example: dict[str, str], clean: RunningStack, changes: dict[str, str], mend: str
) -> None:
    command = [sys.executable, "-m", "workers.cli.main", "worker"]
    environment = {**os.environ, **clean.environment, **example, **changes}
    ended = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert ended.stderr.strip().splitlines()[-1].startswith(f"headrace: {mend}")
