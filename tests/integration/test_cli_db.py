"""`headrace db`: plans by name, what the server knows, and upgrades that say what they do."""

import ast
from collections.abc import Iterator
from pathlib import Path

import psycopg
import pytest

from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.databases import empty_database

MANY = """
INSERT INTO accounts (id, name, api_key_hash) SELECT gen_random_uuid(), n, n::text::bytea FROM generate_series(1, 50) n;
INSERT INTO contacts (account_id, external_id) SELECT id, 'u-' || n FROM accounts, generate_series(1, 100) n;
INSERT INTO conversations (account_id, external_id) SELECT id, 'c-' || n FROM accounts, generate_series(1, 100) n;
INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, sent_at, received_at, stored_at)
    SELECT v.account_id, v.id || '-' || n, v.id, v.id, n, '', now(), now(), now() FROM conversations v, generate_series(1, 4) n;
ANALYZE;
"""

STORE = Path(__file__).parents[2] / "shared/store"


@pytest.fixture
def headrace(clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_every_named_statement_has_a_plan(headrace: CommandLine) -> None:
    names = [each["name"] for each in headrace("db", "explain", "--json").json]
    assert "messages.write" in names
    for name in names:
        shown = headrace("db", "explain", name, "--json").json
        assert shown["name"] == name
        assert any("cost=" in line for line in shown["plan"]), name


@pytest.mark.parametrize(
    ("name", "index"),
    [
        ("conversations.messages", "messages_conversation_id_sequence_key"),
        ("conversations.newest", "conversations_by_account"),
        ("retention.prune", "messages_pkey"),
    ],
)
def test_a_page_reads_what_it_shows_in_the_order_of_an_index(
    headrace: CommandLine, clean: RunningStack, name: str, index: str
) -> None:
    with psycopg.connect(clean.database_url, autocommit=True) as connection, psycopg.ClientCursor(connection) as cursor:
        cursor.execute(MANY)
    plan = "\n".join(headrace("db", "explain", name, "--json").json["plan"])
    assert index in plan
    assert "Sort" not in plan
    assert "Seq Scan" not in plan


def test_a_misspelt_name_is_refused_with_the_right_one(headrace: CommandLine) -> None:
    ended = headrace("db", "explain", "messages.wriet")
    assert (ended.code, ended.err) == (1, "headrace: no statement 'messages.wriet'; did you mean 'messages.write'?\n")


def test_every_statement_of_the_store_has_a_name() -> None:
    """What is executed there is a constant that `define` made, changed by ``where`` and the like, or is tagged."""
    unnamed = []
    for path in STORE.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            called = isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)
            if called and node.func.attr in ("execute", "scalars", "scalar") and ast.unparse(node.func.value) == "session":
                root = node.args[0]
                while isinstance(root, ast.Call | ast.Attribute):
                    root = root.func if isinstance(root, ast.Call) else root.value
                if not (isinstance(root, ast.Name) and (root.id.isupper() or root.id == "statement")):
                    unnamed.append(f"{path.name}:{node.lineno}")
    assert unnamed == []


def test_the_report_names_what_is_large_unused_missing_and_stale(headrace: CommandLine, clean: RunningStack) -> None:
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        connection.execute("DROP INDEX messages_by_contact")
        try:
            found = headrace("db", "report", "--json").json
        finally:
            connection.execute("CREATE INDEX messages_by_contact ON messages (contact_id)")
    assert found["server"]["version"].startswith("18")
    assert {"table": "messages", "columns": "contact_id", "why": "foreign key messages_contact_id_fkey has no index"} in (
        found["missing_indexes"]
    )
    messages = next(each for each in found["tables"] if each["name"] == "messages")
    assert messages.keys() >= {"rows", "dead_rows", "table_bytes", "index_bytes", "last_vacuum", "last_analyze"}
    assert "dead_letters_of_account" in [each["name"] for each in found["indexes"]]
    assert all(not each["unique"] and each["scans"] == 0 for each in found["unused_indexes"])


def test_a_server_without_pg_stat_statements_is_reported_on_all_the_same(headrace: CommandLine) -> None:
    assert headrace("db", "report", "--json").json["statements"] is None
    shown = headrace("db", "report")
    assert shown.code == 0
    assert "this server has no pg_stat_statements" in shown.out
    assert "mend: add it to shared_preload_libraries" in shown.out


def test_no_foreign_key_of_ours_lacks_an_index(headrace: CommandLine) -> None:
    missing = headrace("db", "report", "--json").json["missing_indexes"]
    assert [each for each in missing if each["why"].startswith("foreign key")] == []


@pytest.fixture
def empty(headrace: CommandLine, clean: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    with empty_database(clean, monkeypatch) as url:
        yield url


@pytest.mark.usefixtures("empty")
def test_an_upgrade_shows_its_progress_and_what_it_refuses_is_one_line(headrace: CommandLine, empty: str) -> None:
    first = headrace("db", "upgrade")
    assert first.code == 0
    assert "applied 0001: The first tables" in first.err
    assert "messages_by_contact: building on messages (contact_id)" in first.err
    assert headrace("db", "upgrade").err == ""
    with psycopg.connect(empty, autocommit=True) as connection:
        connection.execute("UPDATE alembic_version SET version_num = 'x'")
    refused = headrace("db", "upgrade")
    assert refused.code == 1
    assert refused.err.startswith("headrace: the database is at revision x, which this version does not know")
    assert refused.err.count("\n") == 1
