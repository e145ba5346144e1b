"""`headrace dlq` against a real database and broker."""

from datetime import timedelta
from functools import partial
from typing import Any

import pytest
import redis
from kombu import Connection
from sqlalchemy import text

from shared.db.session import transact
from shared.errors import BrokerUnavailable
from shared.producer import Producer
from shared.store import dead_letters
from shared.store.dead_letters import Filter, Letter
from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.factory import as_json, count, new_account, raw_queued
from workers.replay import Progress, replay

SECRET_TEXT = "the text of a customer"


@pytest.fixture
def headrace(clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def bury(number: int, **changes: Any) -> None:
    body = f'[[{{"message_id": "m-{number}", "text": "{SECRET_TEXT}"}}], {{}}, {{}}]'.encode()
    letter = Letter(
        queue="messages",
        task="messages.store",
        task_id=f"t-{number}",
        account_id="a-1",
        message_id=f"m-{number}",
        reason="InvalidMessage: sent_at",
        history=[{"at": "2026-11-24T09:00:00Z", "outcome": "dead letter", "reason": "InvalidMessage", "worker": "w"}],
        headers={"task": "messages.store", "id": f"t-{number}", "argsrepr": SECRET_TEXT, "headrace_via": "api"},
        body=body,
    )._replace(**changes)
    transact(lambda session: dead_letters.bury(session, [letter]))


def age(task_id: str, by: timedelta) -> None:
    statement = text("UPDATE dead_letters SET created_at = created_at - CAST(:by AS interval) WHERE task_id = :id")
    transact(lambda session: session.execute(statement, {"by": by, "id": task_id}))


def take(stack: RunningStack, queue: str = "messages") -> list[Any]:
    """What a stock client finds in the queue, oldest first; it is taken out."""
    found = []
    # By name: once a test has loaded our settings, the URL alone means our transport.
    with Connection(stack.broker_url, transport="kombu.transport.redis:Transport") as connection:
        channel = connection.default_channel
        while (message := channel.basic_get(queue, no_ack=True)) is not None:
            found.append(message)
    return found


def ids_listed(headrace: CommandLine, *words: str) -> list[str]:
    return [letter["message_id"] for letter in headrace("dlq", "list", "--json", *words).json]


def test_letters_are_listed_newest_first_and_without_any_text(headrace: CommandLine) -> None:
    for number in range(3):
        bury(number)
    assert ids_listed(headrace) == ["m-2", "m-1", "m-0"]
    ended = headrace("dlq", "list", "--limit", "2")
    assert "2 of 3" in ended.err
    for words in (("dlq", "list"), ("dlq", "list", "--json"), ("dlq", "show", "1"), ("dlq", "show", "1", "--json")):
        assert SECRET_TEXT not in headrace(*words).out


def test_letters_are_chosen_by_queue_reason_account_and_age(headrace: CommandLine) -> None:
    account_id = new_account("demo")
    bury(1, account_id=account_id)
    bury(2, queue="webhooks.03")
    bury(3, reason="100% lost: child died")
    age("t-1", timedelta(days=8))
    assert ids_listed(headrace, "--queue", "webhooks") == ["m-2"]
    assert ids_listed(headrace, "--reason", "100% l") == ["m-3"]
    assert ids_listed(headrace, "--reason", "1_0") == []
    assert ids_listed(headrace, "--account", "demo") == ["m-1"]
    assert ids_listed(headrace, "--account", account_id) == ["m-1"]
    assert ids_listed(headrace, "--account", "a-1") == ["m-3", "m-2"]
    assert ids_listed(headrace, "--older-than", "7d") == ["m-1"]
    assert ids_listed(headrace, "--older-than", "7d", "--queue", "webhooks") == []


def test_a_letter_is_shown_with_its_history_and_on_request_with_its_body(headrace: CommandLine) -> None:
    bury(1)
    shown = headrace("dlq", "show", "1", "--json").json
    assert shown["history"][0]["reason"] == "InvalidMessage"
    assert shown["headers"]["headrace_via"] == "api"
    assert "body" not in shown
    assert SECRET_TEXT in headrace("dlq", "show", "1", "--json", "--body").json["body"]
    assert headrace("dlq", "show", "7").code == 1


def test_a_replayed_letter_is_back_in_its_queue_as_it_was_and_gone_from_the_letters(
    headrace: CommandLine, clean: RunningStack
) -> None:
    for number in range(3):
        bury(number)
    bury(9, queue="webhooks.03", task="webhooks.store", headers={"task": "webhooks.store", "id": "t-9"})
    assert headrace("dlq", "replay", "--json").json == {"replayed": 4, "skipped": 0}
    messages = take(clean)
    assert [message.payload[0][0]["message_id"] for message in messages] == ["m-0", "m-1", "m-2"]
    assert messages[0].headers["task"] == "messages.store"
    assert messages[0].headers["headrace_via"] == "api"
    assert messages[0].headers["id"] != "t-0"
    assert len(take(clean, "webhooks.03")) == 1
    assert count("SELECT count(*) FROM dead_letters") == 0


def test_a_dry_run_replays_and_purges_nothing(headrace: CommandLine, clean: RunningStack) -> None:
    for number in range(3):
        bury(number)
    assert headrace("dlq", "replay", "--dry-run", "--json").json == {"would_replay": 3, "queues": {"messages": 3}}
    assert headrace("dlq", "replay", "--dry-run", "--limit", "2", "--json").json["would_replay"] == 2
    assert headrace("dlq", "purge", "--dry-run", "--json").json == {"would_purge": 3, "queues": {"messages": 3}}
    assert take(clean) == []
    assert count("SELECT count(*) FROM dead_letters") == 3


def test_only_what_is_named_or_fits_is_replayed(headrace: CommandLine, clean: RunningStack) -> None:
    for number in range(4):
        bury(number)
    assert headrace("dlq", "replay", "2", "4", "--json").json == {"replayed": 2, "skipped": 0}
    assert [message.payload[0][0]["message_id"] for message in take(clean)] == ["m-1", "m-3"]
    assert headrace("dlq", "replay", "--limit", "1", "--json").json == {"replayed": 1, "skipped": 0}
    assert ids_listed(headrace) == ["m-2"]
    ended = headrace("dlq", "replay", "2")
    assert ended.code == 1
    assert "no dead letter 2" in ended.err


def test_what_was_never_a_task_message_is_skipped_and_kept(headrace: CommandLine, clean: RunningStack) -> None:
    bury(1, task="unnamed", headers={}, body=b"\xff garbage")
    bury(2)
    assert headrace("dlq", "replay", "--json").json == {"replayed": 1, "skipped": 1}
    assert ids_listed(headrace) == ["m-1"]
    assert len(take(clean)) == 1


def test_a_letter_stays_when_the_broker_does_not_confirm(clean: RunningStack) -> None:
    bury(1)
    nobody = Producer("redis://127.0.0.1:20399/0", timeout=0.5)
    with pytest.raises(BrokerUnavailable):
        list(replay(nobody, Filter(), rate=100, limit=10, sleep=lambda _: None))
    assert count("SELECT count(*) FROM dead_letters") == 1


def test_a_replay_that_is_repeated_has_the_same_id_and_a_letter_of_it_is_not_taken_for_the_old_one(
    clean: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    bury(1)
    producer = Producer(clean.broker_url)
    with monkeypatch.context() as crash:
        crash.setattr(dead_letters, "remove", lambda session, ids: (_ for _ in ()).throw(KeyboardInterrupt))
        with pytest.raises(KeyboardInterrupt):
            list(replay(producer, Filter(), rate=100, limit=10, sleep=lambda _: None))
    assert count("SELECT count(*) FROM dead_letters") == 1

    def fails_again_before_the_old_letter_is_gone(session: Any, ids: list[int]) -> None:
        (first, second) = (message.headers["id"] for message in take(clean))
        assert first == second
        for task_id in (first, second):
            bury(1, task_id=task_id)
        remove(session, ids)

    remove = dead_letters.remove
    monkeypatch.setattr(dead_letters, "remove", fails_again_before_the_old_letter_is_gone)
    list(replay(producer, Filter(up_to=1), rate=100, limit=10, sleep=lambda _: None))
    assert count("SELECT count(*) FROM dead_letters") == 1
    assert count("SELECT count(*) FROM dead_letters WHERE id > 1") == 1


def test_a_replay_keeps_to_its_rate_and_reports_as_it_goes(clean: RunningStack) -> None:
    for number in range(6):
        bury(number)
    waits: list[float] = []
    reports = list(replay(Producer(clean.broker_url), Filter(), rate=2, limit=5, sleep=waits.append))
    assert reports == [Progress(2, 0), Progress(4, 0), Progress(5, 0)]
    assert [round(wait) for wait in waits] == [1, 2, 2]  # the clock stood still: each wait is up to the group's own time


def test_purging_deletes_what_fits_after_a_yes(headrace: CommandLine) -> None:
    for number in range(3):
        bury(number, queue="webhooks.03" if number else "messages")
    assert headrace("dlq", "purge").code == 1
    assert headrace("dlq", "purge", "--queue", "webhooks", "--yes", "--json").json == {"purged": 2}
    assert ids_listed(headrace) == ["m-0"]
    assert headrace("dlq", "purge", "1", "--yes", "--json").json == {"purged": 1}


def test_a_purge_goes_in_bounded_steps(clean: RunningStack) -> None:
    for number in range(5):
        bury(number)
    step = partial(dead_letters.purge, wanted=Filter(), limit=2)
    assert [transact(step) for _ in range(4)] == [2, 2, 1, 0]


def test_a_producers_message_survives_burial_and_replay_unchanged(headrace: CommandLine, clean: RunningStack) -> None:
    with redis.Redis.from_url(clean.broker_url) as broker:
        sent = raw_queued("nobody", as_json("m-1", text="ü \\u0041"))
        Producer(clean.broker_url).publish([sent])
        (before,) = take(clean, sent.queue)
        bury(1, queue=sent.queue, headers=before.headers, body=before.body)
        headrace("dlq", "replay")
        (after,) = take(clean, sent.queue)
        assert broker.llen(sent.queue) == 0
    assert after.body == before.body
    assert after.payload == before.payload
    assert {**after.headers, "id": 0, "root_id": 0} == {**before.headers, "id": 0, "root_id": 0}
