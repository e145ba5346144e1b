"""Migrations: to the newest from nothing and from what earlier versions left, while others use the database, and after a kill."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

import psycopg
import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from sqlalchemy.engine import make_url

from shared.db import index_build
from shared.db.engine import engine
from shared.db.index_build import IndexNotBuilt
from shared.db.migrate import HalfDone, current_and_newest, upgrade
from shared.db.models import Base
from tests.conftest import RunningStack
from tests.databases import empty_database
from tests.waiting import eventually

OLD_INDEXES = """
CREATE INDEX ix_channels_account_id ON channels (account_id);
CREATE INDEX conversations_by_account ON conversations (account_id, id);
ALTER TABLE messages ADD CONSTRAINT messages_conversation_id_sequence_key UNIQUE (conversation_id, sequence);
CREATE INDEX messages_by_contact ON messages (contact_id);
CREATE INDEX dead_letters_by_account ON dead_letters (account_id);
"""
ROWS = """
INSERT INTO accounts (id, name, api_key_hash) VALUES ('00000000-0000-4000-8000-000000000000', 'a', 'x');
INSERT INTO contacts (account_id, external_id) SELECT id, 'u' FROM accounts;
INSERT INTO conversations (account_id, external_id, message_count) SELECT id, 'c-' || n, n FROM accounts, generate_series(0, 3) n;
INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, sent_at, received_at, stored_at)
    SELECT account_id, external_id || '-' || n, id, 1, n, '', now(), now(), now()
    FROM conversations, generate_series(1, message_count) n;
"""
TWICE = """
INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, sent_at, received_at, stored_at)
    SELECT account_id, 'again', conversation_id, contact_id, sequence, '', now(), now(), now() FROM messages LIMIT 1
"""
INVALID = "SELECT indexrelid::regclass::text FROM pg_index WHERE NOT indisvalid"
INDEXES = "SELECT indexname FROM pg_indexes WHERE schemaname = 'public' ORDER BY 1"


@pytest.fixture
def url(stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with empty_database(stack, monkeypatch) as it:
        yield it


def run(url: str, sql: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute(sql)


def column(url: str, sql: str) -> list[str]:
    with psycopg.connect(url) as connection:
        return [row[0] for row in connection.execute(sql)]


def test_the_models_say_what_the_migrations_make(url: str) -> None:
    upgrade()
    with engine().connect() as connection:
        context = MigrationContext.configure(connection, opts={"compare_type": True})
        assert compare_metadata(context, Base.metadata) == []


def test_an_upgrade_says_what_it_does_and_a_second_one_has_nothing_to_do(url: str) -> None:
    said: list[str] = []
    revision = upgrade(said.append)
    assert (revision, revision) == current_and_newest()
    assert next(line for line in said if line.startswith("applied ")) == (
        "applied 0001: The first tables: accounts, channels, contacts, conversations, messages, dead letters"
    )
    assert any("messages_by_contact: building" in line for line in said)
    said.clear()
    assert upgrade(said.append) == revision
    assert said == []


def test_a_database_of_the_first_version_keeps_its_rows_and_ends_like_a_new_one(
    url: str, stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    upgrade(to="0001")
    run(url, OLD_INDEXES + ROWS)
    upgrade()
    assert column(url, "SELECT sum(messages)::int FROM account_counts") == [6]
    assert column(url, "SELECT sum(conversations)::int FROM account_counts") == [3], "the empty one counts with its first message"
    assert column(url, "SELECT count(*) FROM messages") == [6]
    old = column(url, INDEXES)
    with empty_database(stack, monkeypatch) as new:
        upgrade()
        assert column(new, INDEXES) == old


def test_an_index_that_a_failed_build_left_invalid_is_built_anew(url: str) -> None:
    upgrade(to="0003")
    run(url, ROWS + TWICE)
    with pytest.raises(IndexNotBuilt, match=r"messages_conversation_id_sequence_key .* twice"):
        upgrade()
    assert column(url, INVALID) == ["messages_conversation_id_sequence_key"]
    assert current_and_newest()[0] == "0003"
    run(url, "DELETE FROM messages WHERE message_id = 'again'")
    said: list[str] = []
    upgrade(said.append)
    assert any("left half-done" in line for line in said)
    assert column(url, INVALID) == []


def test_a_long_transaction_delays_an_index_and_is_named_when_it_does_not_end(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    upgrade(to="0003")
    monkeypatch.setattr(index_build, "LOCK_SECONDS", 1)
    monkeypatch.setattr(index_build, "ATTEMPTS_MAX", 2)
    with psycopg.connect(url, application_name="a-long-report") as other:
        other.execute("LOCK TABLE messages IN SHARE UPDATE EXCLUSIVE MODE")
        with pytest.raises(IndexNotBuilt, match=f"process {other.info.backend_pid} .a-long-report. has a transaction open"):
            upgrade()
    upgrade()
    assert column(url, INVALID) == []


@pytest.mark.parametrize("isolation", ["repeatable read", "serializable"])
def test_an_upgrade_is_not_in_its_own_way_whatever_isolation_is_the_default(
    url: str, monkeypatch: pytest.MonkeyPatch, isolation: str
) -> None:
    monkeypatch.setattr(index_build, "LOCK_SECONDS", 1)
    monkeypatch.setattr(index_build, "ATTEMPTS_MAX", 1)
    run(url, f"ALTER DATABASE {make_url(url).database} SET default_transaction_isolation = '{isolation}'")
    assert upgrade() == current_and_newest()[1]
    assert column(url, INVALID) == []


def test_messages_are_stored_while_an_index_waits_to_be_built(url: str) -> None:
    upgrade(to="0003")
    run(url, ROWS)
    with psycopg.connect(url) as other, ThreadPoolExecutor(1) as pool:
        other.execute("INSERT INTO accounts (id, name, api_key_hash) VALUES (gen_random_uuid(), 'b', 'y')")
        other.execute("UPDATE messages SET text = 'held'")  # the build waits for this transaction
        building = pool.submit(upgrade)
        waiting = "SELECT count(*) FROM pg_stat_progress_create_index WHERE phase LIKE 'waiting%%'"
        eventually("the build waits", lambda: column(url, waiting) == [1])
        run(url, "SET lock_timeout = 2000; UPDATE conversations SET message_count = message_count + 1")
        run(url, "SET lock_timeout = 2000; " + TWICE.replace("sequence, '', now()", "sequence + 1000, '', now()"))
        other.commit()
        building.result(30)
    assert column(url, INVALID) == []


def test_two_upgrades_at_once_run_one_after_the_other(url: str) -> None:
    said: list[str] = []
    gate = threading.Barrier(2)

    def job() -> str:
        gate.wait(10)
        return upgrade(said.append)

    from shared.db.engine import close_engine, use_pool_of

    close_engine()
    use_pool_of(4)
    try:
        with ThreadPoolExecutor(2) as pool:
            first, second = pool.submit(job), pool.submit(job)
            assert first.result(60) == second.result(60) == current_and_newest()[1]
    finally:
        close_engine()
        use_pool_of(2)
    assert len([line for line in said if line.startswith("applied 0001")]) == 1


def test_a_revision_of_a_newer_version_is_refused_with_the_mend(url: str) -> None:
    upgrade()
    run(url, "UPDATE alembic_version SET version_num = '9999'")
    with pytest.raises(HalfDone, match=r"revision 9999.* install that version"):
        upgrade()


def test_tables_without_a_revision_are_refused_and_left_alone(url: str) -> None:
    run(url, "CREATE TABLE messages (subject text)")
    with pytest.raises(HalfDone, match="table messages and no revision"):
        upgrade()
    assert column(url, "SELECT count(*) FROM pg_tables WHERE schemaname = 'public'") == [1]


def test_a_revision_without_its_tables_is_refused(url: str) -> None:
    upgrade()
    run(url, "DROP TABLE messages")
    with pytest.raises(HalfDone, match="has no table messages; mend: restore"):
        upgrade()
