"""Retention: old messages go, in bounded batches; sequences, counts and everything younger stay as they were."""

import threading
from concurrent.futures import ThreadPoolExecutor

import pytest

from shared.db.session import read_session, transact, write_session
from shared.settings import settings
from shared.store import accounts, conversations, messages, retention
from shared.store.messages import Arrival, Stored
from tasks import prune
from tests.factory import count, message, new_account, rows

pytestmark = pytest.mark.usefixtures("clean")


def store(account: str, ids: range, conversation: str = "c") -> Stored:
    arrivals = [Arrival(account, message(f"m{number:03}", conversation), None) for number in ids]
    return transact(lambda session: messages.store(session, arrivals))


def age(days: int, *, up_to: int) -> None:
    """The first ``up_to`` messages were stored so many days ago."""
    with write_session() as session:
        from sqlalchemy import text

        aged = text("UPDATE messages SET stored_at = now() - make_interval(days => :days) WHERE id <= :up_to")
        session.execute(aged, {"days": days, "up_to": up_to})


def stats(account: str) -> dict[str, int]:
    with read_session() as session:
        return conversations.stats(session, account)


def test_by_default_nothing_is_ever_deleted() -> None:
    store(new_account(), range(5))
    age(10_000, up_to=5)
    assert settings().retention_days == 0
    assert prune.prune() == 0
    assert count("SELECT count(*) FROM messages") == 5


def test_what_is_older_goes_in_batches_and_what_is_younger_stays() -> None:
    store(new_account(), range(100))
    age(31, up_to=60)
    assert prune.pruned(days=30, rows=7) == 60
    assert [row[0] for row in rows("SELECT message_id FROM messages ORDER BY id")] == [
        f"m{number:03}" for number in range(60, 100)
    ]
    assert prune.pruned(days=30, rows=7) == 0


def test_one_batch_touches_no_more_rows_than_it_may() -> None:
    store(new_account(), range(20))
    age(31, up_to=20)
    with write_session() as session:
        assert retention.prune(session, days=30, rows=8) == (8, 8)
        assert retention.prune(session, days=30, after=8, rows=8) == (8, 16)
        assert retention.prune(session, days=30, after=16, rows=8) == (4, None)


def test_a_run_stops_when_its_time_is_up_and_the_next_one_goes_on() -> None:
    store(new_account(), range(20))
    age(31, up_to=20)
    assert prune.pruned(days=30, rows=5, seconds_max=0) == 0
    assert prune.pruned(days=30, rows=5) == 20


def test_sequences_and_counts_go_on_as_if_nothing_had_been_deleted() -> None:
    account = new_account()
    store(account, range(10))
    age(31, up_to=10)
    assert prune.pruned(days=30) == 10
    before = stats(account)
    assert (before["messages"], before["conversations"]) == (10, 1)
    assert store(account, range(10, 12)) == (2, 0, frozenset())
    assert [row[0] for row in rows("SELECT sequence FROM messages ORDER BY id")] == [11, 12]
    assert (stats(account)["messages"], count("SELECT message_count FROM conversations")) == (12, 12)


def test_a_pruned_message_that_comes_again_is_stored_once_more() -> None:
    account = new_account()
    store(account, range(3))
    age(31, up_to=1)
    prune.pruned(days=30)
    assert store(account, range(3)) == (1, 2, frozenset())
    assert [row[0] for row in rows("SELECT sequence FROM messages ORDER BY id")] == [2, 3, 4]
    assert stats(account)["messages"] == 4


def test_runs_at_once_beside_an_account_s_deletion_delete_each_message_once() -> None:
    going, staying = new_account(), new_account()
    store(going, range(200))
    store(staying, range(200, 400))
    age(31, up_to=400)
    gate = threading.Barrier(3)

    def pruning() -> int:
        gate.wait(10)
        return prune.pruned(days=30, rows=10)

    def deleting() -> int:
        gate.wait(10)
        gone = 0
        while step := transact(lambda session: accounts.delete(session, going, rows=10)):
            gone += step
        return gone

    from shared.db.engine import close_engine, use_pool_of

    close_engine()
    use_pool_of(3)
    try:
        with ThreadPoolExecutor(3) as pool:
            runs = [pool.submit(pruning), pool.submit(pruning), pool.submit(deleting)]
            first, second, deleted = [each.result(60) for each in runs]
    finally:
        close_engine()
        use_pool_of(2)
    again = prune.pruned(days=30)  # a run leaves to another what that one has locked
    assert 200 <= first + second + deleted + again <= 400 + 3, "with the account, its conversation and its contact"
    assert count("SELECT count(*) FROM messages") == 0
    assert stats(staying)["messages"] == 200
