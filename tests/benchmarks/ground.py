"""The servers that every side stands on, and what is the same before each run: the tables, the broker, the planner's statistics.

PostgreSQL (`synchronous_commit=on`) and Redis (`appendfsync always`) are the embedded ones, in a directory that is new for each
run of the benchmarks. The tables are seeded and analyzed before a run: statistics taken of nearly empty tables make
PostgreSQL keep plans that scan, and halve the rate of whoever is measured next.
"""

import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import groupby
from pathlib import Path
from typing import Any

import psycopg
import redis
from psycopg.conninfo import conninfo_to_dict

from shared.settings import PREFIX, settings
from tests.benchmarks.workload import Queued, account_ids
from tests.waiting import eventually
from workers.local import data_dir
from workers.local.child import Child
from workers.local.identity import end
from workers.local.servers import secrets_for, servers

ROOT = Path(__file__).parents[2]
DIRECTORY = ROOT / ".bench"
"""Holds the peers' environments and, while the benchmarks run, the servers' data: on the disk that a fleet would use."""

SEED_ROWS = 20_000
SEED_ACCOUNT = "00000000-0000-4000-8000-000000000000"
PIPELINE = 1_000

SEED = f"""
TRUNCATE accounts, account_counts, channels, contacts, conversations, messages, dead_letters RESTART IDENTITY;
INSERT INTO accounts (id, name, api_key_hash) SELECT id, id::text, id::text::bytea FROM unnest(%(accounts)s::uuid[]) AS id;
INSERT INTO contacts (account_id, external_id, name)
    SELECT %(seed)s, 'seed-' || n, 'Seed' FROM generate_series(1, {SEED_ROWS // 4}) n;
INSERT INTO conversations (account_id, external_id, message_count)
    SELECT %(seed)s, 'seed-' || n, 4 FROM generate_series(1, {SEED_ROWS // 4}) n;
INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, sent_at, received_at, stored_at)
    SELECT %(seed)s, 'seed-' || n, 1 + n / 4, 1 + n / 4, 1 + n %% 4, 'seed', now(), now(), now()
    FROM generate_series(0, {SEED_ROWS - 1}) n;
"""

BROKEN = """
SELECT count(*) FROM (
    SELECT FROM conversations v LEFT JOIN messages m ON m.conversation_id = v.id GROUP BY v.id
    HAVING v.message_count <> count(m.id) OR max(m.sequence) <> count(m.id) OR min(m.sequence) <> 1
) AS broken
"""


class Ground:
    """Running servers.

    Args:
        directory: for logs and whatever a benchmark writes; gone afterwards.
        environment: what a Headrace process needs to find the servers.
    """

    def __init__(self, directory: Path, environment: dict[str, str]) -> None:
        self.directory = directory
        self.headrace_environment = {**_shell(), **environment}
        self.broker_url = environment[f"{PREFIX}BROKER_URL"]
        self.broker = redis.Redis.from_url(self.broker_url)
        self.cache_url = environment[f"{PREFIX}CACHE_URL"]
        self.database_url = environment[f"{PREFIX}DATABASE_URL"]
        self.database = psycopg.connect(self.database_url, autocommit=True)
        named = conninfo_to_dict(self.database_url)
        self.peer_environment = {
            **_shell(),
            "CELERY_BROKER_URL": self.broker_url,
            "PGHOST": str(named["host"]),
            "PGPORT": str(named.get("port", 5432)),
            "PGUSER": str(named["user"]),
            "PGPASSWORD": str(named["password"]),
            "PGDATABASE": str(named["dbname"]),
        }

    def reset(self) -> None:
        """Tables with the seed alone, an empty broker, and no work left over for either server."""
        self.broker.flushall()
        self.broker.bgrewriteaof()
        eventually("the broker's log is short", self._log_is_rewritten)
        with psycopg.ClientCursor(self.database) as cursor:  # several statements at once
            cursor.execute(SEED, {"accounts": [SEED_ACCOUNT, *account_ids()], "seed": SEED_ACCOUNT})
        self.database.execute("VACUUM (ANALYZE) accounts, contacts, conversations, messages, dead_letters")
        self.database.execute("CHECKPOINT")

    def fill(self, queued: list[Queued]) -> None:
        """Queue the messages, each queue's in their order."""
        for queue, group in groupby(sorted(queued, key=lambda each: each.queue), key=lambda each: each.queue):
            payloads = [each.payload for each in group]
            for start in range(0, len(payloads), PIPELINE):
                self.broker.lpush(queue, *payloads[start : start + PIPELINE])

    def one(self, sql: str, *values: Any) -> Any:
        """The one value that a query returns."""
        row = self.database.execute(sql, values).fetchone()
        return row[0] if row else None

    def stored(self) -> int:
        """Messages stored, the seed aside."""
        return int(self.one("SELECT count(*) FROM messages")) - SEED_ROWS

    def faults(self, expected: int) -> list[str]:
        """What is wrong with what was stored; nothing, when it is ``expected`` messages, each once and counted."""
        counted = int(self.one("SELECT sum(message_count) FROM conversations")) - SEED_ROWS
        checks = {
            f"{self.stored()} rows of {expected}": self.stored() == expected,
            f"message_count adds up to {counted}, not {expected}": counted == expected,
            "a conversation's sequence has gaps": self.one(BROKEN) == 0,
            "there are dead letters": self.one("SELECT count(*) FROM dead_letters") == 0,
        }
        return [fault for fault, holds in checks.items() if not holds]

    def close(self) -> None:
        """Close the connections."""
        self.database.close()
        self.broker.close()

    def _log_is_rewritten(self) -> bool:
        info = self.broker.info("persistence")
        return not info["aof_rewrite_in_progress"] and not info["aof_rewrite_scheduled"]


@contextmanager
def ground() -> Iterator[Ground]:
    """Servers for the length of a ``with``; this process's settings point at them."""
    data_dir.make(DIRECTORY)
    directory = Path(tempfile.mkdtemp(prefix="ground-", dir=DIRECTORY))
    directory.chmod(0o711)  # as root, Postgres runs under another uid
    for name in [each for each in os.environ if each.startswith(PREFIX)]:
        del os.environ[name]
    os.environ[f"{PREFIX}DATA_DIR"] = str(directory)
    settings.cache_clear()
    chosen = servers(directory, settings(), secrets_for({}))
    environment = {f"{PREFIX}DATA_DIR": str(directory), **chosen.environment}
    os.environ.update(environment)
    settings.cache_clear()
    children = [Child(program, directory / f"{program.name}.log") for program in chosen.programs]
    try:
        eventually("the servers are ready", lambda: all(child.program.is_ready() for child in children), within=30)
        _migrate()
        it = Ground(directory, environment)
        yield it
        it.close()
    finally:
        end(child.stoppable for child in children)
        shutil.rmtree(directory, ignore_errors=True)


def _migrate() -> None:
    from shared.db.engine import close_engine
    from shared.db.migrate import upgrade

    upgrade()
    close_engine()


def _shell() -> dict[str, str]:
    return {name: os.environ[name] for name in ("PATH", "HOME", "LANG") if name in os.environ}
