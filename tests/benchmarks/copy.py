"""Copy: the whole job of a batch (contacts, conversations, the messages, exactly once, counted) against `COPY` of the same 200
message rows, one commit each, over one connection, into the same table with the same indexes and foreign keys.

`COPY` is the least that the database must do for such a batch: it gets its rows as bytes made before the clock starts, with their
sequences, and the conversations and contacts are there already. Ours begins with decoded messages.
"""

from collections.abc import Callable
from itertools import islice
from time import perf_counter
from typing import Any
from uuid import UUID

import msgspec

from shared.clock import utc_now
from shared.db.engine import close_engine, engine, use
from shared.db.role import TOOL
from shared.db.session import transact
from shared.message import Message
from shared.store import messages as store
from shared.store.messages import Arrival
from tests.benchmarks.ground import Ground
from tests.benchmarks.verdict import Series, Verdict, ratio
from tests.benchmarks.workload import messages

BATCH = 200
SHARE = 0.3

COPY = """
COPY messages (account_id, message_id, conversation_id, contact_id, sequence, text, metadata, sent_at, received_at, stored_at)
FROM STDIN
"""
KEYS = """
WITH keys AS (
    SELECT * FROM unnest(%(accounts)s::uuid[], %(conversations)s::text[], %(contacts)s::text[], %(counts)s::bigint[])
             AS k(account_id, conversation, contact, count)
), contacts_made AS (
    INSERT INTO contacts (account_id, external_id, name) SELECT account_id, contact, 'Customer' FROM keys
    RETURNING id, account_id, external_id
), conversations_made AS (
    INSERT INTO conversations (account_id, external_id, message_count) SELECT account_id, conversation, count FROM keys
    RETURNING id, account_id, external_id
)
SELECT k.account_id::text, k.conversation, v.id, c.id FROM keys k
JOIN contacts_made c ON c.account_id = k.account_id AND c.external_id = k.contact
JOIN conversations_made v ON v.account_id = k.account_id AND v.external_id = k.conversation
"""


def run(ground: Ground, *, count: int, rounds: int, say: Callable[[str], None]) -> Verdict:
    """Write ``count`` messages each way, ``rounds`` times in turn."""
    arguments = messages(count)
    ours, theirs = Series("whole job", "messages/s", []), Series("COPY", "messages/s", [])
    faults: list[str] = []
    for _ in range(rounds):
        for series, write in ((ours, _store), (theirs, _copy)):
            ground.reset()
            seconds = write(ground, arguments)
            series.values.append(count / seconds)
            faults += [f"{series.name}: {fault}" for fault in ground.faults(count)]
            say(f"copy: {series.name}: {series.values[-1]:,.0f} messages/s")
    return Verdict(
        "copy",
        {"messages": count, "rounds": rounds, "batch": BATCH},
        [ours, theirs],
        [ratio("one connection", ours, theirs, SHARE)],
        faults,
    )


def _store(_: Ground, arguments: list[dict[str, Any]]) -> float:
    now = utc_now()
    arrivals = [
        Arrival(it["account_id"], msgspec.convert({k: v for k, v in it.items() if k != "account_id"}, Message), now)
        for it in arguments
    ]
    batches = _batches(arrivals)
    use(TOOL._replace(index_only=True))  # as a worker's child is
    engine().connect().close()  # connected before the clock starts, as the other side is
    started = perf_counter()
    for batch in batches:
        transact(lambda session, batch=batch: store.store(session, batch))
    seconds = perf_counter() - started
    close_engine()
    return seconds


def _copy(ground: Ground, arguments: list[dict[str, Any]]) -> float:
    lines = _lines(ground, arguments)
    batches = [b"".join(batch) for batch in _batches(lines)]
    started = perf_counter()
    for batch in batches:
        with ground.database.cursor() as cursor, cursor.copy(COPY) as copy:
            copy.write(batch)
    return perf_counter() - started


def _lines(ground: Ground, arguments: list[dict[str, Any]]) -> list[bytes]:
    """Rows in COPY's text format; what they refer to is made."""
    counts: dict[tuple[str, str], int] = {}
    sequences = []
    for it in arguments:
        key = (it["account_id"], it["conversation_id"])
        counts[key] = counts.get(key, 0) + 1
        sequences.append(counts[key])
    contacts = {(it["account_id"], it["conversation_id"]): it["author"]["id"] for it in arguments}
    values = {
        "accounts": [UUID(key[0]) for key in counts],
        "conversations": [key[1] for key in counts],
        "contacts": [contacts[key] for key in counts],
        "counts": list(counts.values()),
    }
    ids = {(row[0], row[1]): (row[2], row[3]) for row in ground.database.execute(KEYS, values)}
    now = utc_now().isoformat()
    lines = []
    for it, sequence in zip(arguments, sequences, strict=True):
        conversation, contact = ids[it["account_id"], it["conversation_id"]]
        metadata = msgspec.json.encode(it["metadata"]).decode()
        row = (it["account_id"], it["message_id"], conversation, contact, sequence, it["text"], metadata, it["sent_at"], now, now)
        lines.append(("\t".join(map(str, row)) + "\n").encode())
    return lines


def _batches(items: list[Any]) -> list[list[Any]]:
    iterator = iter(items)
    return list(iter(lambda: list(islice(iterator, BATCH)), []))
