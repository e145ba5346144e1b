"""Storing a batch of messages: five statements and one transaction, whatever the batch's size.

Why it is right when batches run at once, when every message comes twice, and when one id is raced into two conversations:

* All locks are taken in one order, so no two batches wait for each other: contacts, then new conversations, then the
  conversations' row locks, then message ids, then the accounts' counts, each sorted as bytes. Nobody waits for an earlier kind
  while holding a later one.
* Under the conversations' locks the last statement leaves out the ids that are known, numbers the rest from
  ``message_count`` on, and inserts. An id that a concurrent batch inserted meanwhile (into another conversation: ours are
  locked) makes the insert return fewer rows than were numbered. Then the numbering has a gap, so all of it is rolled
  back and run again, and the rerun knows the id. Inserting with DO NOTHING alone would leave the gap or drop the message.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import Any, NamedTuple

from sqlalchemy import text

from shared.db.queries import define
from shared.db.session import Raced, WriteSession
from shared.message import Message, encode_metadata
from shared.store.accounts import uuid_or_none
from shared.topology import shard_of

# The settings hold for the transaction. Each statement here looks up a few hundred keys, so an index is right whatever the
# statistics say: a plan made while a table was nearly empty scans it, and is kept while the table grows.
ACCOUNTS = define(
    "messages.accounts",
    text("""
SELECT id::text FROM accounts,
       (SELECT set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
               set_config('enable_mergejoin', 'off', true)) AS planner
WHERE id = ANY(CAST(:accounts AS uuid[]))
"""),
)

CONTACTS = define(
    "messages.contacts",
    text("""
INSERT INTO contacts (account_id, external_id, name)
SELECT b.account_id, b.external_id, b.name
FROM unnest(CAST(:accounts AS uuid[]), CAST(:contacts AS text[]), CAST(:names AS text[]))
     WITH ORDINALITY AS b(account_id, external_id, name, n)
LEFT JOIN contacts c ON c.account_id = b.account_id AND c.external_id = b.external_id
WHERE c.id IS NULL OR (b.name IS NOT NULL AND c.name IS DISTINCT FROM b.name)
ORDER BY b.n
ON CONFLICT (account_id, external_id) DO UPDATE SET name = coalesce(excluded.name, contacts.name)
"""),
)

CONVERSATIONS = define(
    "messages.conversations",
    text("""
INSERT INTO conversations (account_id, external_id)
SELECT b.account_id, b.external_id
FROM unnest(CAST(:accounts AS uuid[]), CAST(:conversations AS text[])) WITH ORDINALITY AS b(account_id, external_id, n)
WHERE NOT EXISTS (SELECT FROM conversations c WHERE c.account_id = b.account_id AND c.external_id = b.external_id)
ORDER BY b.n
ON CONFLICT (account_id, external_id) DO NOTHING
RETURNING id
"""),
)

LOCKS = define(
    "messages.locks",
    text("""
SELECT c.id
FROM unnest(CAST(:accounts AS uuid[]), CAST(:conversations AS text[])) WITH ORDINALITY AS b(account_id, external_id, n)
JOIN conversations c ON c.account_id = b.account_id AND c.external_id = b.external_id
ORDER BY b.n
FOR NO KEY UPDATE OF c
"""),
)

# `counted` and `tallied` add up what was numbered, not what was written: where the two differ, all of it is rolled back. They
# depend on `total`, so that the counts' locks are taken when all message ids are, whatever the order of the parts.
WRITE = define(
    "messages.write",
    text("""
WITH batch AS MATERIALIZED (
    SELECT b.*, m.id IS NOT NULL AS known
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:ids AS text[]), CAST(:conversations AS text[]), CAST(:contacts AS text[]),
                CAST(:texts AS text[]), CAST(:metadata AS text[]), CAST(:sent AS timestamptz[]),
                CAST(:received AS timestamptz[]), CAST(:shards AS smallint[]), CAST(:places AS int[]))
         AS b(account_id, message_id, conversation, contact, text, metadata, sent_at, received_at, shard, place)
    LEFT JOIN messages m ON m.account_id = b.account_id AND m.message_id = b.message_id
), numbered AS MATERIALIZED (
    SELECT b.*, v.id AS conversation_id, k.id AS contact_id, coalesce(b.received_at, now()) AS received,
           v.message_count + row_number() OVER (PARTITION BY v.id ORDER BY b.place) AS sequence
    FROM batch b
    JOIN conversations v ON v.account_id = b.account_id AND v.external_id = b.conversation
    JOIN contacts k ON k.account_id = b.account_id AND k.external_id = b.contact
    WHERE NOT b.known
), written AS (
    INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, metadata, sent_at, received_at,
                          stored_at)
    SELECT account_id, message_id, conversation_id, contact_id, sequence, text, CAST(metadata AS jsonb), sent_at, received,
           clock_timestamp()
    FROM numbered
    ORDER BY account_id, message_id COLLATE "C"
    ON CONFLICT (account_id, message_id) DO NOTHING
    RETURNING 1
), total AS MATERIALIZED (
    SELECT count(*) AS rows FROM written
), counted AS (
    UPDATE conversations v
    SET message_count = v.message_count + n.rows, last_message_at = greatest(v.last_message_at, n.latest)
    FROM (SELECT conversation_id, count(*) AS rows, max(received) AS latest FROM numbered GROUP BY conversation_id) n
    WHERE v.id = n.conversation_id
), tallied AS (
    INSERT INTO account_counts AS a (account_id, shard, messages, conversations)
    SELECT account_id, shard, count(*), count(*) FILTER (WHERE sequence = 1)
    FROM total, numbered
    WHERE total.rows > 0
    GROUP BY account_id, shard
    ORDER BY account_id, shard
    ON CONFLICT (account_id, shard) DO UPDATE
    SET messages = a.messages + excluded.messages, conversations = a.conversations + excluded.conversations
)
SELECT (SELECT count(*) FROM batch WHERE known) AS known, (SELECT rows FROM total) AS written
"""),
)

# None that was there before is empty: each is committed with its first message.
EMPTY = define(
    "messages.empty_conversations",
    text("""
DELETE FROM conversations c
USING unnest(CAST(:accounts AS uuid[]), CAST(:conversations AS text[])) AS b(account_id, external_id)
WHERE c.account_id = b.account_id AND c.external_id = b.external_id AND c.message_count = 0
"""),
)


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
    begun = len(session.execute(CONVERSATIONS, keys).all())
    session.execute(LOCKS, keys)
    row = session.execute(WRITE, _messages(list(unique.values()))).one()
    if row.known + row.written != len(unique):
        raise Raced("a concurrent batch stored one of these ids, or an account was deleted")
    if begun and row.known:
        session.execute(EMPTY, keys)  # all that was new to one of them was known in another
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
        "shards": [shard_of(message.conversation_id) for message in messages],
        "places": list(range(len(arrivals))),
    }
