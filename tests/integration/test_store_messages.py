"""The store's promises under concurrency: exactly once, gapless, in order, in a constant number of statements."""

import random
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest
from sqlalchemy import event, text

from shared.db.engine import engine
from shared.db.session import WriteSession, transact, write_session
from shared.message import Author
from shared.store import messages
from shared.store.messages import Arrival
from tests.factory import assert_sequences_whole, count, message, new_account, rows, store

pytestmark = pytest.mark.usefixtures("many_connections")


def at_once(work: list[Callable[[], object]]) -> None:
    """Run all of it at the same moment, each in a thread."""
    gate = threading.Barrier(len(work))

    def run(job: Callable[[], object]) -> object:
        gate.wait(10)
        return job()

    with ThreadPoolExecutor(len(work)) as pool:
        for future in [pool.submit(run, job) for job in work]:
            future.result(60)


def test_a_batch_is_stored_in_its_order_with_gapless_sequences() -> None:
    account = new_account()
    stored = store([Arrival(account, message(f"m{n}", f"c{n % 3}"), None) for n in range(30)])
    assert stored == (30, 0, frozenset())
    order = [row[0] for row in rows("SELECT message_id FROM messages ORDER BY conversation_id, sequence")]
    assert order == [f"m{n}" for lane in range(3) for n in range(lane, 30, 3)]
    assert_sequences_whole()


def test_the_same_message_stored_fifty_times_at_once_has_one_row() -> None:
    account = new_account()
    at_once([lambda: store([Arrival(account, message("same"), None)])] * 16)
    for _ in range(34):
        store([Arrival(account, message("same"), None)])
    assert count("SELECT count(*) FROM messages") == 1
    assert_sequences_whole()


def test_a_replayed_batch_has_no_effect() -> None:
    account = new_account()
    batch = [Arrival(account, message(f"m{n}", f"c{n % 7}"), None) for n in range(100)]
    store(batch)
    before = rows("SELECT * FROM messages ORDER BY id"), rows("SELECT * FROM conversations ORDER BY id")
    assert store(batch) == (0, 100, frozenset())
    assert (rows("SELECT * FROM messages ORDER BY id"), rows("SELECT * FROM conversations ORDER BY id")) == before


def test_one_id_raced_into_two_conversations_leaves_no_gap() -> None:
    account = new_account()
    for round_ in range(25):
        shared_id = f"raced-{round_}"

        def job(conversation: str, number: int = round_, raced: str = shared_id) -> messages.Stored:
            own = message(f"{conversation}-{number}", conversation)
            return store([Arrival(account, message(raced, conversation), None), Arrival(account, own, None)])

        at_once([lambda: job("left"), lambda: job("right")])
    assert count("SELECT count(*) FROM messages") == 75
    assert_sequences_whole()


def test_opposing_overlapping_batches_neither_deadlock_nor_lose_a_message() -> None:
    accounts = [new_account() for _ in range(3)]
    batch = [
        Arrival(accounts[n % 3], message(f"m{n}", f"c{n % 11}", author=Author(f"u{n % 5}", f"n{n}")), None) for n in range(120)
    ]
    seed = 20261124

    def job(number: int) -> Callable[[], object]:
        mine = batch[:]
        random.Random(seed + number).shuffle(mine)
        return lambda: [store(mine[start : start + 30]) for start in range(0, 120, 30)]

    at_once([job(number) for number in range(8)])
    assert count("SELECT count(*) FROM messages") == 120, f"seed {seed}"
    assert_sequences_whole()


def test_the_number_of_statements_does_not_depend_on_the_size() -> None:
    account = new_account()
    statements: list[str] = []
    event.listen(engine(), "before_cursor_execute", lambda _c, _k, statement, *_: statements.append(statement))
    store([Arrival(account, message("one"), None)])
    store([Arrival(account, message(f"m{n}", f"c{n}", author=Author(f"u{n}")), None) for n in range(200)])
    store([Arrival(account, message(f"n{n}", f"c{n}", author=Author(f"u{n}")), None) for n in range(200)])
    assert len(statements) == 3, "one a batch, whether anybody is new or not"


def test_a_conversation_that_has_gone_is_begun_again() -> None:
    account = new_account()
    store([Arrival(account, message(f"{name}-1", name), None) for name in ("left", "right")])
    with write_session() as session:
        for table in ("messages", "conversations"):
            session.execute(text(f"DELETE FROM {table}"))
    stored = store([Arrival(account, message(f"again-{name}", name), None) for name in ("left", "right", "new")])
    assert stored == (3, 0, frozenset())
    assert_sequences_whole()


def test_a_conversation_that_was_rolled_back_is_begun_by_the_next_batch() -> None:
    account = new_account()
    arrivals = [Arrival(account, message("m"), None)]

    def work(session: WriteSession) -> None:
        messages.store(session, arrivals)
        raise KeyError

    with pytest.raises(KeyError):
        transact(work)
    assert store(arrivals) == (1, 0, frozenset())
    assert_sequences_whole()


def test_messages_of_unknown_accounts_are_named_and_left_out() -> None:
    account = new_account()
    nobody = "00000000-0000-7000-8000-000000000000"
    senders = {"a": nobody, "b": "no uuid", "c": account}
    stored = store([Arrival(sender, message(name), None) for name, sender in senders.items()])
    assert stored == (1, 0, frozenset({nobody, "no uuid"}))


def test_hostile_identifiers_are_stored_as_they_are() -> None:
    account = new_account()
    names = ["'; DROP TABLE messages; --", "ü" * 255, "\u200b", '{"a":1}', "a\\b", "😀", "İ", "i̇"]
    store([Arrival(account, message(name, name, author=Author(name), text=name, metadata={"k": name}), None) for name in names])
    assert {row[0] for row in rows("SELECT message_id FROM messages")} == set(names)
    assert {row[0] for row in rows("SELECT external_id FROM conversations")} == set(names)
    assert_sequences_whole()


@pytest.mark.parametrize("seed", range(8))
def test_whatever_is_mixed_in_a_batch_is_stored_as_a_simple_model_has_it(seed: int) -> None:
    """Known and new ids, conversations and contacts, new names, none, accounts that do not exist, all of it in one batch."""
    it = random.Random(seed)
    accounts, nobody = [new_account() for _ in range(3)], "00000000-0000-7000-8000-000000000000"
    ids: set[tuple[str, str]] = set()
    order: dict[tuple[str, str], list[str]] = {}
    names: dict[tuple[str, str], str | None] = {}
    for _ in range(12):
        batch = [_anything(it, [*accounts, nobody]) for _ in range(it.randint(1, 40))]
        fresh = _fresh(batch, ids, nobody)
        for account, sent, _ in fresh:
            order.setdefault((account, sent.conversation_id), []).append(sent.message_id)
            key = (account, sent.author.id)
            names[key] = sent.author.name if sent.author.name is not None else names.get(key)
        of_accounts = sum(account != nobody for account, *_ in batch)
        unknown = frozenset({nobody} if of_accounts < len(batch) else ())
        assert store(batch) == (len(fresh), of_accounts - len(fresh), unknown), f"seed {seed}"
    found = rows(
        "SELECT v.account_id::text, v.external_id, v.message_count, array_agg(m.message_id ORDER BY m.sequence),"
        " max(m.stored_at) >= max(v.last_message_at) FROM conversations v JOIN messages m ON m.conversation_id = v.id"
        " WHERE m.account_id = v.account_id GROUP BY v.id"
    )
    assert {tuple(row) for row in ((*row[:3], tuple(row[3]), row[4]) for row in found)} == {
        (*key, len(sent), tuple(sent), True) for key, sent in order.items()
    }
    assert {(a, c): n for a, c, n in rows("SELECT account_id::text, external_id, name FROM contacts")} == names
    authors = rows(
        "SELECT m.account_id::text, m.message_id, c.external_id, m.text FROM messages m JOIN contacts c"
        " ON c.id = m.contact_id AND c.account_id = m.account_id"
    )
    assert {(a, i) for a, i, *_ in authors} == ids
    assert all(text_.endswith(f"by {author}") for *_, author, text_ in authors), "each by its own contact"
    assert_sequences_whole()


def _anything(it: random.Random, accounts: list[str]) -> Arrival:
    author = Author(f"{it.choice('uUö')}{it.randrange(5)}", it.choice([None, "Ada", "Bea"]))
    conversation = f"{it.choice('cCéZ_')}{it.randrange(9)}"
    sent = message(f"m{it.randrange(150)}", conversation, author=author, text=f"said by {author.id}")
    return Arrival(it.choice(accounts), sent, None)


def _fresh(batch: list[Arrival], ids: set[tuple[str, str]], nobody: str) -> list[Arrival]:
    fresh = []
    for arrival in batch:
        key = (arrival.account_id, arrival.message.message_id)
        if arrival.account_id != nobody and key not in ids:
            ids.add(key)
            fresh.append(arrival)
    return fresh


def test_a_message_that_is_known_changes_no_name() -> None:
    account = new_account()
    store([Arrival(account, message("m1", author=Author("u-1", "Ada")), None)])
    store(
        [
            Arrival(account, message("m1", author=Author("u-1", "Mallory")), None),
            Arrival(account, message("m2", author=Author("u-2", "Bea")), None),
        ]
    )
    assert rows("SELECT external_id, name FROM contacts ORDER BY id") == [("u-1", "Ada"), ("u-2", "Bea")]
