"""`headrace load run` against a stand-in for the fleet, which stores through the real store and can be told to misbehave."""

import asyncio
import base64
import json
import os
import signal
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import redis
from sqlalchemy import text

from loadgen.senders import CeleryLink, NotAccepted
from shared.clock import utc_now
from shared.db.engine import close_engine, use_pool_of
from shared.db.session import transact
from shared.errors import HeadraceError
from shared.message import Message, decode_queued
from shared.settings import settings
from shared.store import dead_letters, messages
from shared.store.dead_letters import Letter
from shared.store.messages import Arrival
from shared.topology import MESSAGES
from tests.conftest import RunningStack
from tests.factory import count, message
from tests.stand_in import serving
from workers.cli.main import cli
from workers.local.ports import choose

PORT = choose(0)


@pytest.fixture(autouse=True)
def fleet_settings(clean: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[RunningStack]:
    monkeypatch.setenv("HEADRACE_INGRESS_PORT", str(PORT))
    settings.cache_clear()
    close_engine()
    use_pool_of(10)
    yield clean
    close_engine()
    use_pool_of(2)
    monkeypatch.undo()
    settings.cache_clear()


def load(*arguments: str) -> None:
    cli(["load", "run", "--rate", "100", "--duration", "1", "--accounts", "3", *arguments], standalone_mode=False)


def written(path: Path) -> dict[str, Any]:
    report: dict[str, Any] = json.loads(path.read_bytes())
    return report


def store(account_id: str, message: Message) -> int:
    transact(lambda session: messages.store(session, [Arrival(account_id, message, utc_now())]))
    return 202


def number(message: Message) -> int:
    return int(message.message_id.rpartition("-")[2])


@pytest.mark.parametrize("via", ["webhook", "api"])
def test_a_sound_fleet_gets_a_clean_account_and_the_runs_accounts_are_removed(via: str, tmp_path: Path) -> None:
    with serving(store, PORT):
        load("--via", via, "--json", str(tmp_path / "report.json"))
    report = written(tmp_path / "report.json")
    assert report["clean"]
    assert (report["sent"], report["accepted"], report["stored"]) == (100, 100, 100)
    assert (report["lost"], report["duplicated"], report["reordered"], report["miscounted"]) == (0, 0, 0, 0)
    assert report["seed"] == 1
    assert 0 < report["achieved_rate"] <= 101
    for latency in report["latency_ms"].values():
        assert 0 < latency["p50"] <= latency["p95"] <= latency["p99"] <= latency["max"]
    assert count("SELECT count(*) FROM accounts") == count("SELECT count(*) FROM messages") == 0


def test_a_stock_celery_clients_messages_are_accounted_for(fleet_settings: RunningStack, tmp_path: Path) -> None:
    ended = threading.Event()

    def consume() -> None:
        with redis.Redis.from_url(fleet_settings.broker_url) as broker:
            while not ended.is_set():
                if popped := broker.brpop([MESSAGES], timeout=0.1):
                    envelope = json.loads(popped[1])
                    assert envelope["headers"]["task"] == "messages.store"
                    queued = decode_queued(json.dumps(json.loads(base64.b64decode(envelope["body"]))[0][0]).encode())
                    store(queued.account_id, queued)

    consumer = threading.Thread(target=consume)
    consumer.start()
    try:
        load("--via", "celery", "--json", str(tmp_path / "report.json"))
    finally:
        ended.set()
        consumer.join(10)
    assert written(tmp_path / "report.json")["clean"]


def test_a_broker_that_is_full_or_gone_is_a_refusal_to_a_celery_link(fleet_settings: RunningStack) -> None:
    def refusal(url: str) -> str:
        async def main() -> str:
            link = CeleryLink(url, ["account"])
            await link.open()
            try:
                with pytest.raises(NotAccepted) as caught:
                    await link.send(0, message("m-1"))
            finally:
                await link.close()
            assert caught.value.again
            return caught.value.reason

        return asyncio.run(main())

    with redis.Redis.from_url(fleet_settings.broker_url) as broker:
        bound = broker.config_get("maxmemory")["maxmemory"]
        broker.config_set("maxmemory", 1)
        try:
            assert refusal(fleet_settings.broker_url) == "broker"
        finally:
            broker.config_set("maxmemory", bound)
        assert broker.llen(MESSAGES) == 0
    assert refusal("redis://127.0.0.1:20298/0") == "broker"


def test_a_message_that_was_acknowledged_and_not_stored_is_reported_and_the_accounts_are_kept(tmp_path: Path) -> None:
    def lose_some(account_id: str, message: Message) -> int:
        return 202 if number(message) in (10, 20) else store(account_id, message)

    with serving(lose_some, PORT), pytest.raises(HeadraceError, match=r"^2 messages lost$"):
        load("--patience", "1", "--json", str(tmp_path / "report.json"))
    report = written(tmp_path / "report.json")
    assert not report["clean"]
    assert (report["accepted"], report["stored"], report["lost"]) == (100, 98, 2)
    assert count("SELECT count(*) FROM accounts") == 3


def test_messages_stored_in_another_order_than_sent_are_reported() -> None:
    held: dict[str, tuple[str, Message]] = {}

    def swap(account_id: str, message: Message) -> int:
        if message.metadata["ordinal"] == 1:
            held[message.conversation_id] = (account_id, message)
            return 202
        store(account_id, message)
        if first := held.pop(message.conversation_id, None):
            store(*first)
        return 202

    with serving(swap, PORT), pytest.raises(HeadraceError, match=r"\d+ messages? reordered"):
        load("--patience", "1")


def test_a_conversation_that_counts_wrongly_is_reported() -> None:
    def count_twice(account_id: str, message: Message) -> int:
        store(account_id, message)
        if number(message) == 50:
            transact(lambda session: session.execute(text("UPDATE conversations SET message_count = message_count + 1")))
        return 202

    with serving(count_twice, PORT), pytest.raises(HeadraceError, match=r"conversations? miscounted"):
        load("--patience", "1")


def test_a_dead_letter_is_no_loss_also_when_only_its_body_names_the_message(tmp_path: Path) -> None:
    def bury_some(account_id: str, message: Message) -> int:
        if number(message) % 10:
            return store(account_id, message)
        body = json.dumps([[{"body": {"data": {"message_id": message.message_id}}}]]).encode()
        letter = Letter("webhooks", "webhooks.store", message.message_id, account_id, None, "planted", [], {}, body)
        transact(lambda session: dead_letters.bury(session, [letter]))
        return 202

    with serving(bury_some, PORT):
        load("--json", str(tmp_path / "report.json"))
    report = written(tmp_path / "report.json")
    assert (report["stored"], report["dead_lettered"], report["lost"], report["clean"]) == (90, 10, 0, True)


def test_a_503_is_answered_with_the_same_message_again_whether_or_not_it_was_taken(tmp_path: Path) -> None:
    refused: set[str] = set()

    def refuse_once(account_id: str, message: Message) -> int:
        if message.message_id not in refused:
            refused.add(message.message_id)
            if number(message) % 2:
                store(account_id, message)
            return 503
        return store(account_id, message)

    with serving(refuse_once, PORT):
        load("--json", str(tmp_path / "report.json"))
    report = written(tmp_path / "report.json")
    assert (report["accepted"], report["rejected"], report["refusals"], report["clean"]) == (100, 0, {"503": 100}, True)


def test_an_interrupt_ends_the_sending_and_what_was_sent_is_accounted_for(tmp_path: Path) -> None:
    def interrupt(account_id: str, message: Message) -> int:
        if number(message) == 30:
            os.kill(os.getpid(), signal.SIGINT)
        return store(account_id, message)

    with serving(interrupt, PORT):
        load("--duration", "60", "--json", str(tmp_path / "report.json"))
    report = written(tmp_path / "report.json")
    assert 30 <= report["accepted"] == report["stored"] == report["sent"] < 1_000
    assert report["clean"]


def test_a_run_in_which_nothing_was_accepted_fails() -> None:
    with (
        serving(lambda _account, _message: 401, PORT),
        pytest.raises(HeadraceError, match=r"^no message was accepted \(401 100 times\)$"),
    ):
        load("--patience", "1")


def test_without_an_ingress_one_line_says_so_and_no_account_is_left() -> None:
    with pytest.raises(
        HeadraceError, match=rf"^no ingress answers at http://127.0.0.1:{PORT}; is the fleet running\? `headrace up`$"
    ):
        load()
    assert count("SELECT count(*) FROM accounts") == 0


def test_without_a_fleet_one_line_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("HEADRACE_DATABASE_URL")
    monkeypatch.setenv("HEADRACE_DATA_DIR", str(tmp_path))
    settings.cache_clear()
    close_engine()
    with pytest.raises(HeadraceError, match=r"`headrace up`"):
        load()


def test_a_database_that_is_gone_is_named_without_its_password(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql://postgres:hush@127.0.0.1:20299/x")
    settings.cache_clear()
    close_engine()
    with pytest.raises(HeadraceError, match=r"^the database at postgresql://postgres:\*\*\*@127.0.0.1:20299/x ") as caught:
        load()
    assert "hush" not in str(caught.value)
    assert "\n" not in str(caught.value)
