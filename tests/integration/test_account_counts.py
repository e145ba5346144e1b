"""What an account ever stored: exact whatever runs at once, and no row that all batches fight for."""

import random
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import text

from shared.db.engine import engine
from shared.db.session import WriteSession, read_session, transact, write_session
from shared.store import accounts, conversations, messages
from shared.store.messages import Arrival
from shared.topology import LANES_OF_AN_ACCOUNT, shard_of
from tests.factory import count, message, new_account, rows, store

pytestmark = pytest.mark.usefixtures("many_connections")


def stats(account: str) -> tuple[int, int]:
    with read_session() as session:
        found = conversations.stats(session, account)
    return found["messages"], found["conversations"]


def counted(account: str) -> tuple[int, int]:
    values = {"account": account}
    return (
        count("SELECT count(*) FROM messages WHERE account_id = CAST(:account AS uuid)", **values),
        count("SELECT count(*) FROM conversations WHERE account_id = CAST(:account AS uuid)", **values),
    )


def test_an_account_that_stored_nothing_has_counts_of_zero() -> None:
    assert stats(new_account()) == (0, 0)


def test_counts_are_those_of_the_rows_after_batches_that_raced_repeated_and_overlapped() -> None:
    mine = [new_account() for _ in range(3)]
    seed = 20261127
    batch = [Arrival(mine[n % 3], message(f"m{n % 200}", f"c{n % 23}"), None) for n in range(400)]
    gate = threading.Barrier(6)

    def job(number: int) -> None:
        own = batch[:]
        random.Random(seed + number).shuffle(own)
        gate.wait(10)
        for start in range(0, 400, 50):
            store(own[start : start + 50])

    with ThreadPoolExecutor(6) as pool:
        for future in [pool.submit(job, number) for number in range(6)]:
            future.result(60)
    assert [stats(account) for account in mine] == [counted(account) for account in mine], f"seed {seed}"


def test_a_conversation_whose_every_message_was_known_elsewhere_is_neither_counted_nor_listed() -> None:
    account = new_account()
    store([Arrival(account, message("m1", "first"), None)])
    assert store([Arrival(account, message("m1", "second"), None)]) == (0, 1, frozenset())
    assert stats(account) == counted(account) == (1, 1)
    store([Arrival(account, message("m2", "second"), None), Arrival(account, message("m1", "third"), None)])
    assert stats(account) == counted(account) == (2, 2)


def test_batches_of_two_lanes_do_not_wait_for_each_other_s_counts() -> None:
    account = new_account()
    names = {shard_of(f"c{n}"): f"c{n}" for n in range(100)}
    assert len(names) == LANES_OF_AN_ACCOUNT
    one, other = names[0], names[1]
    store([Arrival(account, message("one", one), None), Arrival(account, message("other", other), None)])
    with write_session() as held:
        messages.store(held, [Arrival(account, message("one-2", one), None)])
        with write_session() as session:  # before the first commits
            session.execute(text("SET LOCAL lock_timeout = 1000"))
            messages.store(session, [Arrival(account, message("other-2", other), None)])
    assert stats(account) == (4, 2)


def test_a_batch_that_is_rolled_back_counts_nothing() -> None:
    account = new_account()
    with WriteSession(engine()) as session:  # nobody commits it
        messages.store(session, [Arrival(account, message("m1"), None)])
    assert stats(account) == (0, 0)


def test_an_account_s_counts_go_with_it() -> None:
    account = new_account()
    store([Arrival(account, message(f"m{n}", f"c{n}"), None) for n in range(5)])
    while transact(lambda session: accounts.delete(session, account)):
        pass
    assert rows("SELECT * FROM account_counts") == []
