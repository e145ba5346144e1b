"""Queue the messages of a file by PgQueuer, and print the messages a second: `python enqueue.py FILE`.

The quickest producer among our peers: one INSERT of arrays for each thousand messages, as its own benchmark does, through asyncpg
on uvloop. The database's address comes from libpq's PG* variables. Its tables go into a schema of their own, new for each run.
"""

import json
import sys
import time
from pathlib import Path
from typing import Any

import asyncpg
import uvloop
from pgqueuer.db import AsyncpgDriver
from pgqueuer.queries import Queries

WRITE = 1_000
SCHEMA = "pgqueuer"


async def enqueue(messages: list[dict[str, Any]]) -> float:
    """Messages a second, encoding included; connecting is not."""
    connection = await asyncpg.connect(server_settings={"search_path": SCHEMA})
    await connection.execute(f"DROP SCHEMA IF EXISTS {SCHEMA} CASCADE; CREATE SCHEMA {SCHEMA}")
    queries = Queries(AsyncpgDriver(connection))
    await queries.install()
    await send(queries, messages[:1])
    started = time.perf_counter()
    await send(queries, messages[1:])
    rate = (len(messages) - 1) / (time.perf_counter() - started)
    await connection.execute(f"DROP SCHEMA {SCHEMA} CASCADE")
    await connection.close()
    return rate


async def send(queries: Queries, messages: list[dict[str, Any]]) -> None:
    """A statement, and a commit, for each `WRITE` messages."""
    for start in range(0, len(messages), WRITE):
        payloads: list[bytes | None] = [json.dumps(message).encode() for message in messages[start : start + WRITE]]
        await queries.enqueue(["messages.store"] * len(payloads), payloads, [0] * len(payloads))


def main(file: str) -> None:
    """See the module."""
    messages = [json.loads(line) for line in Path(file).read_text().splitlines()]
    sys.stdout.write(f"{uvloop.run(enqueue(messages))}\n")


if __name__ == "__main__":
    main(*sys.argv[1:])
