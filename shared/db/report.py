"""What the server knows of our tables: slow statements, indexes without use, indexes that are missing, sizes, dead rows.

It reads the server's own views and nothing of the tables, so it costs the same at any size.
"""

from typing import Any

from sqlalchemy import Connection, text
from sqlalchemy.exc import DBAPIError

STATEMENTS_SHOWN = 20

ROWS_MISSED_MIN = 10_000
"""Rows read by an average scan of a whole table from which on an index is worth a thought."""

SERVER = text("""
SELECT current_setting('server_version') AS version, pg_size_pretty(pg_database_size(current_database())) AS size,
       (SELECT stats_reset FROM pg_stat_database WHERE datname = current_database()) AS counted_since,
       EXISTS (SELECT FROM pg_extension WHERE extname = 'pg_stat_statements') AS has_statements
""")

STATEMENTS = text("""
SELECT coalesce(substring(query FROM '/\\* ([a-z_.]+) \\*/'), left(regexp_replace(query, '\\s+', ' ', 'g'), 80)) AS statement,
       calls, round(mean_exec_time::numeric, 2)::float8 AS mean_ms, round(max_exec_time::numeric, 1)::float8 AS max_ms,
       round(total_exec_time::numeric / 1000, 1)::float8 AS total_seconds, rows
FROM pg_stat_statements WHERE dbid = (SELECT oid FROM pg_database WHERE datname = current_database())
ORDER BY total_exec_time DESC LIMIT :limit
""")

TABLES = text("""
SELECT relname AS name, n_live_tup AS rows, n_dead_tup AS dead_rows,
       pg_table_size(relid) AS table_bytes, pg_indexes_size(relid) AS index_bytes,
       greatest(last_vacuum, last_autovacuum) AS last_vacuum, greatest(last_analyze, last_autoanalyze) AS last_analyze,
       n_mod_since_analyze AS changed_since
FROM pg_stat_user_tables ORDER BY pg_total_relation_size(relid) DESC, relname
""")

INDEXES = text("""
SELECT s.relname AS table, s.indexrelname AS name, pg_relation_size(s.indexrelid) AS bytes, s.idx_scan AS scans,
       i.indisunique AS unique, i.indisvalid AS valid
FROM pg_stat_user_indexes s JOIN pg_index i ON i.indexrelid = s.indexrelid
ORDER BY pg_relation_size(s.indexrelid) DESC, s.indexrelname
""")

# A foreign key's columns must lead an index, or deleting one row above reads the whole table below.
KEYS = text("""
SELECT c.conrelid::regclass::text AS table, c.conname AS name, string_agg(a.attname, ', ' ORDER BY k.place) AS columns
FROM pg_constraint c
CROSS JOIN LATERAL unnest(c.conkey) WITH ORDINALITY AS k(attnum, place)
JOIN pg_attribute a ON a.attrelid = c.conrelid AND a.attnum = k.attnum
WHERE c.contype = 'f' AND c.connamespace = 'public'::regnamespace AND NOT EXISTS (
    SELECT FROM pg_index i WHERE i.indrelid = c.conrelid AND i.indisvalid AND i.indpred IS NULL
      AND (i.indkey::int2[])[0:cardinality(c.conkey) - 1] @> c.conkey)
GROUP BY c.conrelid, c.conname ORDER BY 1, 2
""")

SCANS = text("""
SELECT relname AS table, seq_scan AS scans, seq_tup_read / seq_scan AS rows_each
FROM pg_stat_user_tables WHERE seq_scan > 0 AND seq_tup_read / seq_scan >= :rows ORDER BY seq_tup_read DESC
""")

NO_STATEMENTS = (
    "this server has no pg_stat_statements, so slow statements are not listed; mend: add it to shared_preload_libraries, "
    "restart, CREATE EXTENSION pg_stat_statements. Without it: the metrics headrace_db_query_seconds and "
    "headrace_db_slow_queries_total, and the log of slow statements"
)

Records = list[dict[str, Any]]


def report(connection: Connection) -> dict[str, Any]:
    """Everything, by section; lists of records, the worst first."""
    server = connection.execute(SERVER).one()
    indexes = _records(connection, INDEXES)
    statements, why_not = _statements(connection) if server.has_statements else (None, NO_STATEMENTS)
    return {
        "server": {"version": server.version, "database_size": server.size, "counted_since": server.counted_since},
        "statements": statements,
        "statements_missing": why_not,
        "unused_indexes": [each for each in indexes if not each["scans"] and not each["unique"]],
        "invalid_indexes": [each for each in indexes if not each["valid"]],
        "missing_indexes": _missing(connection),
        "tables": _records(connection, TABLES),
        "indexes": indexes,
    }


def _statements(connection: Connection) -> tuple[Records | None, str | None]:
    try:
        with connection.begin_nested():
            return _records(connection, STATEMENTS, limit=STATEMENTS_SHOWN), None
    except DBAPIError as error:  # created, but not loaded at the server's start; or not for our eyes
        reason = str(error.orig).strip().splitlines()[0]
        return None, f"pg_stat_statements does not answer: {reason}; mend: shared_preload_libraries, or GRANT pg_read_all_stats"


def _missing(connection: Connection) -> Records:
    keys = [
        {"table": each["table"], "columns": each["columns"], "why": f"foreign key {each['name']} has no index"}
        for each in _records(connection, KEYS)
    ]
    scans = [
        {"table": each["table"], "columns": None, "why": f"{each['scans']} scans of the whole, {each['rows_each']} rows each"}
        for each in _records(connection, SCANS, rows=ROWS_MISSED_MIN)
    ]
    return keys + scans


def _records(connection: Connection, statement: Any, **values: Any) -> Records:
    return [dict(row) for row in connection.execute(statement, values).mappings()]
