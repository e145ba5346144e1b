"""`headrace account` against a real database; deleting while batches store."""

import threading
from collections.abc import Iterator
from functools import partial

import pytest

from shared.db.engine import close_engine, use_pool_of
from shared.db.session import transact
from shared.store import accounts, dead_letters
from shared.store.dead_letters import Letter
from shared.store.messages import Arrival, Stored, store
from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.factory import assert_sequences_whole, count, message, new_account

pytestmark = pytest.mark.usefixtures("clean")

TABLES = ("messages", "conversations", "contacts", "channels", "dead_letters")


@pytest.fixture
def headrace(clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def four_connections() -> Iterator[None]:
    """This process plays four."""
    close_engine()
    use_pool_of(4)
    yield
    close_engine()
    use_pool_of(2)


def fill(account_id: str, first: int, size: int, conversations: int) -> Stored:
    arrivals = [
        Arrival(account_id, message(f"m-{number}", f"c-{number % conversations}"), None) for number in range(first, first + size)
    ]
    return transact(lambda session: store(session, arrivals))


def bury(account_id: str, task_id: str) -> None:
    letter = Letter("messages", "messages.store", task_id, account_id, "m", "test", [], {}, b"[]")
    transact(lambda session: dead_letters.bury(session, [letter]))


def rows_of(account_id: str, table: str) -> int:
    return count(f"SELECT count(*) FROM {table} WHERE account_id::text = :account", account=account_id)


def test_a_new_account_is_listed_and_its_key_shown_once(headrace: CommandLine) -> None:
    made = headrace("account", "create", "Ada & Söhne", "--json").json
    assert set(made) == {"id", "api_key"}
    (listed,) = headrace("account", "list", "--json").json
    assert (listed["id"], listed["name"], listed["disabled_at"]) == (made["id"], "Ada & Söhne", None)
    assert made["api_key"] not in headrace("account", "list").out
    with transact(lambda session: session) as session:
        assert accounts.id_of_key(session, accounts.hash_of(made["api_key"])) == made["id"]


def test_a_name_is_taken_only_once(headrace: CommandLine) -> None:
    headrace("account", "create", "demo")
    ended = headrace("account", "create", "demo")
    assert (ended.code, ended.err.count("\n")) == (1, 1)
    assert "headrace account list" in ended.err


def test_an_account_goes_by_its_name_or_its_id(headrace: CommandLine) -> None:
    account_id = headrace("account", "create", "demo", "--json").json["id"]
    for known_as in ("demo", account_id):
        assert headrace("account", "disable", known_as).code == 0
        assert headrace("account", "list", "--json").json[0]["disabled_at"]
        assert headrace("account", "enable", known_as).code == 0
        assert headrace("account", "list", "--json").json[0]["disabled_at"] is None
    assert headrace("account", "disable", "nobody").code == 1


def test_a_rotated_key_replaces_the_old_one(headrace: CommandLine) -> None:
    made = headrace("account", "create", "demo", "--json").json
    rotated = headrace("account", "rotate-key", "demo", "--json").json
    assert rotated["id"] == made["id"]
    with transact(lambda session: session) as session:
        assert accounts.id_of_key(session, accounts.hash_of(rotated["api_key"])) == made["id"]
        assert accounts.id_of_key(session, accounts.hash_of(made["api_key"])) is None


def test_deleting_asks_first_and_without_a_yes_nothing_goes(headrace: CommandLine) -> None:
    headrace("account", "create", "demo")
    ended = headrace("account", "delete", "demo")
    assert ended.code == 1
    assert "--yes" in ended.err
    assert len(headrace("account", "list", "--json").json) == 1


def test_deleting_removes_everything_of_the_account_and_nothing_of_another(headrace: CommandLine) -> None:
    gone, stays = new_account("gone"), new_account("stays")
    for account_id in (gone, stays):
        fill(account_id, 0, 60, 7)
        bury(account_id, f"t-{account_id}")
        headrace("channel", "add", account_id, "--source", "standard")
    assert headrace("account", "delete", "gone", "--yes").code == 0
    assert [rows_of(gone, table) for table in TABLES] == [0, 0, 0, 0, 0]
    assert [rows_of(stays, table) for table in TABLES] == [60, 7, 1, 1, 1]
    assert [account["name"] for account in headrace("account", "list", "--json").json] == ["stays"]


def test_deleting_goes_in_bounded_steps_and_repeating_it_is_harmless() -> None:
    account_id = new_account()
    fill(account_id, 0, 60, 7)
    bury(account_id, "t-1")
    steps = []
    while step := transact(partial(accounts.delete, account_id=account_id, rows=25)):
        steps.append(step)
    assert steps == [25, 25, 10, 7, 1, 1, 1]  # messages, conversations, a contact, a dead letter, the account
    assert transact(partial(accounts.delete, account_id=account_id)) == 0


@pytest.mark.usefixtures("four_connections")
def test_an_account_can_be_deleted_while_batches_store_for_it() -> None:
    account_id, stays = new_account("gone"), new_account("stays")
    failures: list[BaseException] = []
    started = threading.Barrier(3)

    def keep_storing(worker: int) -> None:
        try:
            for turn in range(1_000):
                arrivals = [
                    Arrival(owner, message(f"{worker}-{turn}-{number}", f"c-{number % 9}"), None)
                    for number in range(5)  # fewer than a deletion takes at once, or it might never come to the end
                    for owner in (account_id, stays)
                ]
                if transact(lambda session, arrivals=arrivals: store(session, arrivals)).unknown_accounts:
                    return
                if turn == 3:
                    started.wait(30)
            raise AssertionError("the account was never gone")
        except BaseException as error:  # noqa: BLE001 - reported by the test's own thread
            failures.append(error)

    def keep_deleting() -> None:
        try:
            while transact(partial(accounts.delete, account_id=account_id, rows=40)):
                pass
        except BaseException as error:  # noqa: BLE001
            failures.append(error)

    storing = [threading.Thread(target=keep_storing, args=(worker,)) for worker in range(2)]
    for thread in storing:
        thread.start()
    started.wait(30)
    deleting = [threading.Thread(target=keep_deleting) for _ in range(2)]
    for thread in deleting:
        thread.start()
    for thread in (*storing, *deleting):
        thread.join(60)
        assert not thread.is_alive()
    assert failures == []
    assert [rows_of(account_id, table) for table in TABLES] == [0, 0, 0, 0, 0]
    assert_sequences_whole()
