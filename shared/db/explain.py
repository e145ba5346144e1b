"""The plan of a statement without running it and without its values: the generic one that a prepared statement settles on.

PostgreSQL 16 has ``EXPLAIN (GENERIC_PLAN)``. Before that, a statement is prepared, generic plans are forced, and its execution
with NULLs is explained: the plan is the same, for it may not look at values.
"""

import re
from typing import Any

import psycopg
from sqlalchemy.dialects import postgresql

from shared.db.queries import statement_named

GENERIC_PLAN_VERSION = 160_000
"""`server_version` of the first PostgreSQL that has it."""

_PLACEHOLDER = re.compile(r"%%|%\((\w+)\)s")
_LITERAL = re.compile(r"'(?:[^']|'')*'")


def plan_of(connection: psycopg.Connection[Any], name: str) -> list[str]:
    """The plan of the statement called ``name``, a line each. Raises NotFound."""
    return generic_plan(connection, sql_of(name))


def sql_of(name: str) -> str:
    """The statement called ``name`` as it is sent, with psycopg's placeholders. Raises NotFound."""
    statement: Any = statement_named(name)
    dialect = postgresql.psycopg.dialect()  # type: ignore[no-untyped-call]
    return str(statement.compile(dialect=dialect, compile_kwargs={"render_postcompile": True})).strip()


def generic_plan(connection: psycopg.Connection[Any], sql: str, *, version: int | None = None) -> list[str]:
    """The plan of ``sql``, which has psycopg's named placeholders, for any values. In a transaction of the caller's.

    Args:
        version: of the server, as psycopg tells it; None: ask the connection.

    Quoted text in it is left out: a condition may quote what a sender wrote.
    """
    numbered, count = with_numbers(sql)
    with connection.cursor() as cursor:
        if (version or connection.info.server_version) >= GENERIC_PLAN_VERSION:
            rows = cursor.execute(f"EXPLAIN (GENERIC_PLAN) {numbered}", prepare=False).fetchall()
        else:
            cursor.execute("SET LOCAL plan_cache_mode = force_generic_plan")
            cursor.execute(f"PREPARE headrace_explain AS {numbered}", prepare=False)
            nulls = f"({', '.join(['NULL'] * count)})" if count else ""
            try:
                rows = cursor.execute(f"EXPLAIN EXECUTE headrace_explain{nulls}", prepare=False).fetchall()
            finally:
                cursor.execute("DEALLOCATE headrace_explain")
    return [redacted(row[0]) for row in rows]


def with_numbers(sql: str) -> tuple[str, int]:
    """``sql`` with the server's ``$1`` in the place of ``%(name)s``, and how many there are."""
    numbers: dict[str, int] = {}

    def numbered(match: re.Match[str]) -> str:
        if match[0] == "%%":
            return "%"
        return f"${numbers.setdefault(match[1], len(numbers) + 1)}"

    return _PLACEHOLDER.sub(numbered, sql), len(numbers)


def redacted(line: str) -> str:
    """``line`` of a plan without quoted text."""
    return _LITERAL.sub("'?'", line)
