"""A planted N+1 fails the suite with the repeated SQL shown, in this process and in a worker."""

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from celery import Celery
from pytest_celery import CeleryTestWorker
from sqlalchemy import text

from shared.db.session import Raced, WriteSession, transact
from tasks import messages
from tasks.batch import Settled, run
from tests import repeated_queries
from tests.batches import wires
from tests.factory import as_json, count, new_account
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
SQL = "SELECT id, name FROM contacts WHERE external_id = %(author)s"


def test_an_n_plus_one_in_a_handler_fails_the_suite_with_the_repeated_sql_shown() -> None:
    planted = "tests/integration/planted_n_plus_one.py"
    done = subprocess.run(
        [sys.executable, "-m", "pytest", "-q", "-p", "no:xdist", "-p", "no:cacheprovider", planted],
        cwd=ROOT, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip
    assert done.returncode == 1, done.stdout
    assert " passed" in done.stdout, "the test itself has no fault"
    assert f"planted.count ran this 20 times in one batch: {SQL}" in done.stdout


def test_a_worker_s_batches_are_watched_too(start_worker: Callable[..., CeleryTestWorker], stock_client: Celery) -> None:
    for number in range(20):
        stock_client.send_task("planted.count", args=[{"id": number}], queue="planted")
    start_worker(HEADRACE_TASK_MODULES="tests.integration.planted_n_plus_one", HEADRACE_TASK_QUEUES="planted")
    found = eventually("the repeated statement is reported", repeated_queries.complaints)
    assert SQL in found[0]


@pytest.mark.usefixtures("clean")
def test_our_own_batches_repeat_nothing_at_any_size() -> None:
    account = new_account()
    settled = run(wires(messages.store.name, [{"account_id": account, **as_json(f"m{n}", f"c{n}")} for n in range(100)]), "here")
    assert isinstance(settled, Settled)
    assert count("SELECT count(*) FROM messages") == 100
    assert repeated_queries.complaints() == []


@pytest.mark.usefixtures("clean")
def test_a_transaction_that_is_rerun_is_no_repetition() -> None:
    from shared.db.query_guard import watching

    left = 8

    def work(session: WriteSession) -> None:
        nonlocal left
        session.execute(text("SELECT 1"))
        left -= 1
        if left:
            raise Raced("again")

    with watching("t.t") as watch:
        transact(work)
    assert watch.total == 8
    assert watch.repeated() == {}
