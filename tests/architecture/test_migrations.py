"""Migrations expand before they contract, so that two versions run side by side (docs/upgrades.md)."""

import re
from pathlib import Path

import pytest

VERSIONS = Path(__file__).parents[2] / "shared" / "db" / "migrations" / "versions"
MIGRATIONS = sorted(VERSIONS.glob("[0-9]*.py"))

CONTRACTING = re.compile(
    r"\bDROP\s+(TABLE|COLUMN|CONSTRAINT|TYPE|DEFAULT|VIEW|FUNCTION)\b|\bRENAME\b|\bSET\s+NOT\s+NULL\b|\bALTER\s+COLUMN\s+\S+\s+TYPE\b"
    r"|drop_(table|column|constraint)|rename_table|alter_column",
    re.IGNORECASE,
)
REQUIRED = re.compile(r"\bADD\s+COLUMN\b(?![^,;]*\bDEFAULT\b)[^,;]*\bNOT\s+NULL\b", re.IGNORECASE)
ALLOWED = re.compile(r"^CONTRACTS = \"(\d+)\"$", re.MULTILINE)


def faults(source: str) -> list[str]:
    """What an older version that runs beside would trip over."""
    if ALLOWED.search(source):
        return []
    return [match[0] for pattern in (CONTRACTING, REQUIRED) for match in pattern.finditer(source)]


@pytest.mark.parametrize("migration", MIGRATIONS, ids=lambda path: path.stem)
def test_a_migration_only_adds_unless_it_names_the_revision_that_made_a_thing_unused(migration: Path) -> None:
    source = migration.read_text()
    assert faults(source) == []
    named = ALLOWED.search(source)
    assert not named or any(each.stem.startswith(named[1]) for each in MIGRATIONS)


@pytest.mark.parametrize(
    "sql",
    [
        "ALTER TABLE messages DROP COLUMN text",
        "ALTER TABLE messages RENAME COLUMN text TO body",
        "ALTER TABLE messages ALTER COLUMN sequence TYPE bigint",
        "ALTER TABLE messages ALTER COLUMN text SET NOT NULL",
        "ALTER TABLE messages ADD COLUMN kind text NOT NULL",
        'op.drop_column("messages", "text")',
    ],
)
def test_what_an_older_version_would_trip_over_is_found(sql: str) -> None:
    assert faults(sql)


@pytest.mark.parametrize(
    "sql",
    [
        "CREATE TABLE things (id int NOT NULL)",
        "ALTER TABLE messages ADD COLUMN kind text",
        "ALTER TABLE messages ADD COLUMN kind text NOT NULL DEFAULT 'x', ADD COLUMN more int",
        "CREATE INDEX some ON messages (text)",
        'CONTRACTS = "0001"\nALTER TABLE messages DROP COLUMN text',
    ],
)
def test_what_only_adds_is_let_pass(sql: str) -> None:
    assert not faults(sql)
