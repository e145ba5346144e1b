"""A worker's promises, shown by real worker processes on real servers."""

import json
import random
import threading
from collections.abc import Callable
from contextlib import suppress

import psutil
import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestWorker

from shared.broker.claims import Claims
from shared.db.session import read_session, transact
from shared.producer import Producer
from shared.store import dead_letters
from shared.store.dead_letters import Filter
from shared.topology import all_queues
from tests.factory import as_json, assert_sequences_whole, count, message, new_account, queued, raw_queued, rows
from tests.waiting import eventually

StartWorker = Callable[..., CeleryTestWorker]

POISON = """
CREATE OR REPLACE FUNCTION refuse_poison() RETURNS trigger LANGUAGE plpgsql AS
$$ BEGIN IF NEW.text = 'poison' THEN RAISE 'refused' USING ERRCODE = '22000'; END IF; RETURN NEW; END $$;
CREATE OR REPLACE TRIGGER poison BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION refuse_poison();
"""
ANTIDOTE = "DROP TRIGGER poison ON messages"


def execute(sql: str) -> None:
    transact(lambda session: session.connection().exec_driver_sql(sql))


def letters() -> list[dead_letters.DeadLetterRow]:
    with read_session() as session:
        return dead_letters.page(session, Filter(), limit=100)


def order_of(conversation: str) -> list[str]:
    found = rows(
        "SELECT m.message_id FROM messages m JOIN conversations c ON c.id = m.conversation_id"
        " WHERE c.external_id = :conversation ORDER BY m.sequence",
        conversation=conversation,
    )
    return [row[0] for row in found]


def stored() -> int:
    return count("SELECT count(*) FROM messages")


def test_messages_of_a_stock_celery_client_are_stored_in_order(start_worker: StartWorker, stock_client: Celery) -> None:
    account = new_account()
    start_worker()
    for number in range(100):
        stock_client.send_task(
            "messages.store", args=[{"account_id": account, **as_json(f"m{number}", f"c{number % 3}")}], queue="messages"
        )
    eventually("all are stored", lambda: stored() == 100)
    for conversation in range(3):
        assert order_of(f"c{conversation}") == [f"m{number}" for number in range(conversation, 100, 3)]
    assert_sequences_whole()


def test_a_poison_message_leaves_its_neighbours_stored_and_a_replay_stores_it(
    start_worker: StartWorker, producer: Producer
) -> None:
    account = new_account()
    execute(POISON)
    batch = [message(f"m{n}", f"c{n % 9}", text="poison" if n == 77 else "fine") for n in range(200)]
    producer.publish([queued(account, it) for it in batch])
    start_worker()
    eventually("199 are stored", lambda: stored() == 199)
    (letter,) = eventually("one is dead-lettered", letters)
    assert (letter.message_id, letter.account_id, letter.queue, letter.task) == (
        "m77",
        account,
        queued(account, batch[77]).queue,
        "messages.store",
    )
    assert letter.reason.startswith("raised 3 times: ")
    outcomes = [entry["outcome"] for entry in letter.history]
    assert outcomes[-4:] == ["raised", "raised", "raised", "dead letter"]
    assert "poison" not in json.dumps([letter.reason, letter.history]).replace("refuse_poison", "")
    execute(ANTIDOTE)
    from click.testing import CliRunner

    from workers.cli.main import cli

    result = CliRunner().invoke(cli, ["dlq", "replay", str(letter.id)])
    assert result.exit_code == 0, result.output
    eventually("the replayed one is stored", lambda: stored() == 200)
    assert letters() == []
    assert_sequences_whole()


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        (as_json("m1", text=""), None),
        ({"message_id": "m1"}, "invalid message: conversation_id: required field is missing"),
        (as_json("m1", text=5), "invalid message: text: Expected `str`, got `int`"),
        (as_json("m1", text="a\0b"), "invalid message: text: U+0000 cannot be stored"),
        (as_json("m" * 256), "invalid message: message_id: Expected `str` of length <= 255"),
    ],
)
def test_an_invalid_message_is_dead_lettered_with_the_field_at_fault(
    start_worker: StartWorker, producer: Producer, fields: dict[str, object], reason: str | None
) -> None:
    producer.publish([raw_queued(new_account(), fields)])
    start_worker()
    if reason is None:
        eventually("it is stored", lambda: stored() == 1)
    else:
        (letter,) = eventually("it is dead-lettered", letters)
        assert letter.reason == reason


def test_what_stock_celery_would_drop_is_dead_lettered(
    start_worker: StartWorker, stock_client: Celery, producer: Producer, broker: redis.Redis
) -> None:
    nobody = "00000000-0000-7000-8000-000000000000"
    stock_client.send_task("messages.store", args=[{"account_id": nobody, **as_json("m1")}], queue="messages")
    stock_client.send_task("no.such.task", args=[1], queue="messages")
    stock_client.send_task("messages.store", args=[1, 2], queue="messages")
    stock_client.send_task("messages.store", args=[1, 2], queue="messages.00")
    broker.lpush("messages.01", b"\xff garbage")
    broker.lpush("messages", b"[]")
    start_worker()
    eventually("six are dead-lettered", lambda: len(letters()) == 6)
    reasons = sorted(letter.reason for letter in letters())
    assert reasons == sorted(
        [
            "there is no such account",
            *["not a messages.store with account_id and conversation_id"] * 2,
            "invalid message: args: takes one positional argument",
            "it is no Celery message",
            "it is no JSON",
        ]
    )
    eventually("all are settled", lambda: not list(broker.scan_iter("headrace:claims:*")))


HOSTILE_HEADERS = (
    '"id": "1", "task": "no.such.task", "note": "a\\u0000b"',
    '"id": "2", "task": "no.such.task", "note": "half a \\ud800"',
    '"id": "3", "task": "no.such.task", "note": {"\\u0000": [NaN]}',
    '"id": "4", "task": "no.such.task", "note": {"__type__": "date", "__value__": "2026-11-28"}',
    '"id": "5", "task": "no.such.task", "note": ' + "[" * 1000 + "]" * 1000,
    '"id": "6", "task": "no.such.task", "a\\u0000b": 1',
    '"id": "7\\u0000", "task": "no.such.task"',
    '"id": "8", "task": "no.such\\u0000.task"',
    '"id": "9\\ud800", "task": "no.such\\ud800.task"',
    f'"id": "{random.Random(10).randbytes(10_000).hex()}", "task": "no.such.task"',
)


def test_whatever_stands_in_its_headers_a_dead_letter_is_kept_and_its_lane_goes_on(
    start_worker: StartWorker, producer: Producer, broker: redis.Redis
) -> None:
    rest = '"body": "[[1], {}, {}]", "content-type": "application/json", "content-encoding": "utf-8", "properties": {}'
    good = raw_queued(new_account(), as_json("good"))
    for headers in HOSTILE_HEADERS:
        broker.lpush(good.queue, f'{{{rest}, "headers": {{{headers}}}}}')
    start_worker()
    eventually("all are kept", lambda: len(letters()) == len(HOSTILE_HEADERS))
    producer.publish([good])
    eventually("what comes after them is stored", lambda: stored() == 1)
    assert {letter.body for letter in letters()} == {b"[[1], {}, {}]"}
    assert all(letter.reason.startswith("there is no batch task") for letter in letters())


def test_a_message_delivered_fifty_times_has_one_row(start_worker: StartWorker, producer: Producer) -> None:
    account = new_account()
    start_worker("w1")
    start_worker("w2")
    same = message("same")
    threads = [threading.Thread(target=producer.publish, args=([queued(account, same)] * 5,)) for _ in range(10)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    producer.publish([queued(account, message("last"))])
    eventually("the last one is stored", lambda: count("SELECT count(*) FROM messages WHERE message_id = 'last'") == 1)
    assert stored() == 2
    assert_sequences_whole()


def test_a_child_killed_in_the_middle_loses_nothing(start_worker: StartWorker, producer: Producer) -> None:
    account = new_account()
    node = start_worker()
    for start in range(0, 2_000, 200):
        producer.publish([queued(account, message(f"m{n}", f"c{n % 50}")) for n in range(start, start + 200)])
        for child in node.container.tree()[1:2]:
            with suppress(psutil.NoSuchProcess):  # the one killed before, not reaped yet when the tree was read
                child.kill()
    eventually("all are stored", lambda: stored() == 2_000, within=60)
    assert letters() == []
    assert_sequences_whole()


def test_a_paused_queue_accepts_and_is_not_consumed_until_it_is_resumed(
    start_worker: StartWorker, producer: Producer, broker: redis.Redis
) -> None:
    account = new_account()
    claims = Claims(broker)
    claims.pause(all_queues(32))
    start_worker("w1")
    producer.publish([it := queued(account, message("m1"))])
    start_worker("w2")
    assert broker.llen(it.queue) == 1
    assert stored() == 0
    claims.resume(all_queues(32))
    eventually("it is stored", lambda: stored() == 1)


def test_forty_thousand_messages_drained_by_two_workers_are_exactly_stored(start_worker: StartWorker, producer: Producer) -> None:
    accounts = [new_account() for _ in range(200)]
    pairs = [(accounts[n % 200], message(f"m{n}", f"c{n // 200 % 25}")) for n in range(40_000)]  # 25 conversations an account
    for start in range(0, 40_000, 1_000):
        producer.publish([queued(account, it) for account, it in pairs[start : start + 1_000]])
    start_worker("w1")
    start_worker("w2")
    eventually("all are stored", lambda: stored() == 40_000, within=120, every=0.5)
    assert count("SELECT count(*) FROM conversations") == 5_000
    assert count("SELECT count(*) FROM conversations WHERE message_count <> 8") == 0
    assert letters() == []
    assert_sequences_whole()
