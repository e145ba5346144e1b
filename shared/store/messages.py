"""Storing a batch of messages: four statements and one transaction, whatever the batch's size.

Why it is right when batches run at once, when every message comes twice, and when one id is raced into two conversations:

* All locks are taken in one order, so no two batches wait for each other: contacts, then new conversations, then the
  conversations' row locks, then message ids, each sorted as bytes. Nobody waits for an earlier kind while holding a later one.
* Under the conversations' locks the last statement leaves out the ids that are known, numbers the rest from
  ``message_count`` on, and inserts. An id that a concurrent batch inserted meanwhile (into another conversation: ours are
  locked) makes the insert return fewer rows than were numbered. Then the numbering has a gap, so all of it is rolled
  back and run again, and the rerun knows the id. Inserting with DO NOTHING alone would leave the gap or drop the message.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from shared.db.session import Raced, WriteSession
from shared.message import Message, encode_metadata
from shared.store.accounts import uuid_or_none

ACCOUNTS = text("SELECT id::text FROM accounts WHERE id = ANY(CAST(:accounts AS uuid[]))")

CONTACTS = text("""
INSERT INTO contacts (account_id, external_id, name)
SELECT b.account_id, b.external_id, b.name
FROM unnest(CAST(:accounts AS uuid[]), CAST(:contacts AS text[]), CAST(:names AS text[]))
     WITH ORDINALITY AS b(account_id, external_id, name, n)
LEFT JOIN contacts c ON c.account_id = b.account_id AND c.external_id = b.external_id
WHERE c.id IS NULL OR (b.name IS NOT NULL AND c.name IS DISTINCT FROM b.name)
ORDER BY b.n
ON CONFLICT (account_id, external_id) DO UPDATE SET name = coalesce(excluded.name, contacts.name)
""")

CONVERSATIONS = text("""
INSERT INTO conversations (account_id, external_id)
SELECT b.account_id, b.external_id
FROM unnest(CAST(:accounts AS uuid[]), CAST(:conversations AS text[])) WITH ORDINALITY AS b(account_id, external_id, n)
WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.account_id = b.account_id AND c.external_id = b.external_id)
ORDER BY b.n
ON CONFLICT (account_id, external_id) DO NOTHING
""")

LOCKS = text("""
SELECT c.id
FROM unnest(CAST(:accounts AS uuid[]), CAST(:conversations AS text[])) WITH ORDINALITY AS b(account_id, external_id, n)
JOIN conversations c ON c.account_id = b.account_id AND c.external_id = b.external_id
ORDER BY b.n
FOR NO KEY UPDATE OF c
""")

MESSAGES = text("""
WITH batch AS (
    SELECT b.*
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:ids AS text[]), CAST(:conversations AS text[]), CAST(:contacts AS text[]),
                CAST(:texts AS text[]), CAST(:metadata AS text[]), CAST(:sent AS timestamptz[]),
                CAST(:received AS timestamptz[]), CAST(:places AS int[]))
         AS b(account_id, message_id, conversation, contact, text, metadata, sent_at, received_at, place)
), known AS (
    SELECT m.account_id, m.message_id
    FROM batch b JOIN messages m ON m.account_id = b.account_id AND m.message_id = b.message_id
), numbered AS (
    SELECT b.*, v.id AS conversation_id, k.id AS contact_id,
           v.message_count + row_number() OVER (PARTITION BY v.id ORDER BY b.place) AS sequence
    FROM batch b
    JOIN conversations v ON v.account_id = b.account_id AND v.external_id = b.conversation
    JOIN contacts k ON k.account_id = b.account_id AND k.external_id = b.contact
    WHERE NOT EXISTS (SELECT FROM known n WHERE n.account_id = b.account_id AND n.message_id = b.message_id)
), written AS (
    INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, metadata, sent_at, received_at,
                          stored_at)
    SELECT account_id, message_id, conversation_id, contact_id, sequence, text, CAST(metadata AS jsonb), sent_at,
           coalesce(received_at, now()), clock_timestamp()
    FROM numbered
    ORDER BY account_id, message_id COLLATE "C"
    ON CONFLICT (account_id, message_id) DO NOTHING
    RETURNING conversation_id, received_at
), counted AS (
    UPDATE conversations v
    SET message_count = v.message_count + w.rows, last_message_at = greatest(v.last_message_at, w.latest)
    FROM (SELECT conversation_id, count(*) AS rows, max(received_at) AS latest FROM written GROUP BY conversation_id) w
    WHERE v.id = w.conversation_id
)
SELECT (SELECT count(*) FROM known) AS known, (SELECT count(*) FROM written) AS written
""")


class Arrival(NamedTuple):
    """A message with its account, and when the edge took it (None: now)."""

    account_id: str
    message: Message
    received_at: datetime | None


class Stored(NamedTuple):
    """What a batch did: rows ``written``, messages ``known`` before, and the accounts that do not exist."""

    written: int
    known: int
    unknown_accounts: frozenset[str]


def store(session: WriteSession, arrivals: Sequence[Arrival]) -> Stored:
    """Write ``arrivals`` in their order; a message whose id is known, or comes again within the batch, has no effect.

    Messages of accounts that do not exist are left out. Raises Raced when a concurrent batch took one of the ids; the
    transaction must then be rolled back and run again (`db.session.transact` does).
    """
    claimed = sorted({arrival.account_id for arrival in arrivals if uuid_or_none(arrival.account_id)})
    known_accounts = set(session.execute(ACCOUNTS, {"accounts": claimed}).scalars()) if claimed else set()
    unknown = frozenset(arrival.account_id for arrival in arrivals) - known_accounts
    unique: dict[tuple[str, str], Arrival] = {}
    repeated = 0
    for arrival in arrivals:
        if arrival.account_id in known_accounts:
            first = unique.setdefault((arrival.account_id, arrival.message.message_id), arrival)
            repeated += first is not arrival
    if not unique:
        return Stored(0, 0, unknown)

    session.execute(CONTACTS, _contacts(unique.values()))
    conversations = sorted({(arrival.account_id, arrival.message.conversation_id) for arrival in unique.values()})
    keys = {"accounts": [key[0] for key in conversations], "conversations": [key[1] for key in conversations]}
    session.execute(CONVERSATIONS, keys)
    session.execute(LOCKS, keys)
    row = session.execute(MESSAGES, _messages(list(unique.values()))).one()
    if row.known + row.written != len(unique):
        raise Raced("a concurrent batch stored one of these ids, or an account was deleted")
    return Stored(row.written, row.known + repeated, unknown)


def _contacts(arrivals: Any) -> dict[str, list[Any]]:
    names: dict[tuple[str, str], str | None] = {}
    for arrival in arrivals:
        author = arrival.message.author
        key = (arrival.account_id, author.id)
        names[key] = author.name if author.name is not None else names.get(key)
    keys = sorted(names)
    return {"accounts": [key[0] for key in keys], "contacts": [key[1] for key in keys], "names": [names[key] for key in keys]}


def _messages(arrivals: list[Arrival]) -> dict[str, list[Any]]:
    messages = [arrival.message for arrival in arrivals]
    return {
        "accounts": [arrival.account_id for arrival in arrivals],
        "ids": [message.message_id for message in messages],
        "conversations": [message.conversation_id for message in messages],
        "contacts": [message.author.id for message in messages],
        "texts": [message.text for message in messages],
        "metadata": [encode_metadata(message) if message.metadata else None for message in messages],
        "sent": [message.sent_at for message in messages],
        "received": [arrival.received_at for arrival in arrivals],
        "places": list(range(len(arrivals))),
    }
