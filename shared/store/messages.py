"""Storing a batch of messages: three statements and one transaction, whatever the batch's size; five when somebody is new.

Why it is right when batches run at once, when every message comes twice, and when one id is raced into two conversations:

* All locks are taken in one order, so no two batches wait for each other: contacts and new conversations, each sorted as bytes,
  then the conversations' rows by id, then message ids, then the accounts' counts. Nobody waits for an earlier kind while
  holding a later one.
* The last statement leaves out the ids that are known, moves each conversation's ``message_count`` on by what is left, which
  locks its row, numbers the messages from where the count stood, and inserts. An id that a concurrent batch inserted meanwhile
  makes the insert return fewer rows than were numbered. Then the numbering has a gap, so all of it is rolled back and run again,
  and the rerun knows the id. Inserting with DO NOTHING alone would leave the gap or drop the message.
"""

from collections.abc import Iterable, Iterator, Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from shared.db.arrays import plain_array, text_array, text_or_null_array
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
SELECT array_agg(id::text), set_config('enable_seqscan', 'off', true), set_config('enable_hashjoin', 'off', true),
       set_config('enable_mergejoin', 'off', true)
FROM accounts WHERE id = ANY(CAST(:accounts AS uuid[]))
"""),
)

# Ids in the order of the keys; NULL for who is not there, and for a contact that has another name.
LOOK = define(
    "messages.look",
    text("""
SELECT (SELECT array_agg(c.id ORDER BY b.n)
        FROM unnest(CAST(:contact_accounts AS uuid[]), CAST(:contacts AS text[]), CAST(:names AS text[]))
             WITH ORDINALITY AS b(account_id, external_id, name, n)
        LEFT JOIN contacts c ON c.account_id = b.account_id AND c.external_id = b.external_id
                            AND (b.name IS NULL OR c.name = b.name)) AS contacts,
       (SELECT array_agg(v.id ORDER BY b.n)
        FROM unnest(CAST(:accounts AS uuid[]), CAST(:conversations AS text[])) WITH ORDINALITY AS b(account_id, external_id, n)
        LEFT JOIN conversations v ON v.account_id = b.account_id AND v.external_id = b.external_id) AS conversations
"""),
)

# Only those that LOOK did not find: a name that changed, or a contact that another batch is making, conflicts.
CONTACTS = define(
    "messages.contacts",
    text("""
INSERT INTO contacts (account_id, external_id, name)
SELECT b.account_id, b.external_id, b.name
FROM unnest(CAST(:contact_accounts AS uuid[]), CAST(:contacts AS text[]), CAST(:names AS text[]))
     WITH ORDINALITY AS b(account_id, external_id, name, n)
ORDER BY b.n
ON CONFLICT (account_id, external_id) DO UPDATE SET name = coalesce(excluded.name, contacts.name)
RETURNING account_id::text, external_id, id
"""),
)

CONVERSATIONS = define(
    "messages.conversations",
    text("""
INSERT INTO conversations (account_id, external_id)
SELECT b.account_id, b.external_id
FROM unnest(CAST(:accounts AS uuid[]), CAST(:conversations AS text[])) WITH ORDINALITY AS b(account_id, external_id, n)
ORDER BY b.n
ON CONFLICT (account_id, external_id) DO NOTHING
RETURNING account_id::text, external_id, id
"""),
)

# `placed` is empty when a conversation is gone, which the counts at the end show. `tallied` depends on `total`, so that its
# locks are taken when all message ids are, whatever the order in which the parts run.
WRITE = define(
    "messages.write",
    text("""
WITH batch AS MATERIALIZED (
    SELECT b.account_id, b.message_id, b.conversation_id, b.contact_id, b.text, b.metadata, b.sent_at, b.shard, b.place,
           coalesce(b.received_at, now()) AS received_at, m.id IS NOT NULL AS known
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:ids AS text[]), CAST(:conversations AS bigint[]), CAST(:contacts AS bigint[]),
                CAST(:texts AS text[]), CAST(:metadata AS text[]), CAST(:sent AS timestamptz[]),
                CAST(:received AS timestamptz[]), CAST(:shards AS smallint[])) WITH ORDINALITY
         AS b(account_id, message_id, conversation_id, contact_id, text, metadata, sent_at, received_at, shard, place)
    LEFT JOIN messages m ON m.account_id = b.account_id AND m.message_id = b.message_id
), ranked AS MATERIALIZED (
    SELECT b.*, row_number() OVER (PARTITION BY conversation_id ORDER BY place) AS rank,
           dense_rank() OVER (ORDER BY conversation_id) AS nth
    FROM batch b WHERE NOT known
), moved AS (
    UPDATE conversations v
    SET message_count = v.message_count + n.rows, last_message_at = greatest(v.last_message_at, n.latest)
    FROM (SELECT conversation_id, count(*) AS rows, max(received_at) AS latest FROM ranked
          GROUP BY conversation_id ORDER BY conversation_id) n
    WHERE v.id = n.conversation_id
    RETURNING v.id, v.message_count - n.rows AS before
), stood AS MATERIALIZED (
    SELECT array_agg(before ORDER BY id) AS counts, count(*) AS conversations FROM moved
), placed AS MATERIALIZED (
    SELECT r.*, s.counts[r.nth] + r.rank AS sequence
    FROM stood s, ranked r WHERE s.conversations = (SELECT max(nth) FROM ranked)
), written AS (
    INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, metadata, sent_at, received_at,
                          stored_at)
    SELECT account_id, message_id, conversation_id, contact_id, sequence, text, CAST(metadata AS jsonb), sent_at, received_at,
           clock_timestamp()
    FROM placed
    ORDER BY account_id, message_id COLLATE "C"
    ON CONFLICT (account_id, message_id) DO NOTHING
    RETURNING 1
), total AS MATERIALIZED (
    SELECT count(*) AS rows FROM written
), tallied AS (
    UPDATE account_counts a
    SET messages = a.messages + n.messages, conversations = a.conversations + n.conversations
    FROM (SELECT account_id, shard, count(*) AS messages, count(*) FILTER (WHERE sequence = 1) AS conversations
          FROM total, placed WHERE total.rows > 0
          GROUP BY account_id, shard ORDER BY account_id, shard) n
    WHERE a.account_id = n.account_id AND a.shard = n.shard
    RETURNING n.messages
)
SELECT (SELECT count(*) FROM batch WHERE known) AS known, (SELECT rows FROM total) AS written,
       (SELECT coalesce(sum(messages), 0) FROM tallied) AS tallied
"""),
)

# None that was there before is empty: each is committed with its first message.
EMPTY = define(
    "messages.empty_conversations",
    text("DELETE FROM conversations WHERE id = ANY(CAST(:ids AS bigint[])) AND message_count = 0"),
)


Key = tuple[str, str]
"""An account's id and the sender's id of something in it."""


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
    claimed = sorted(filter(uuid_or_none, {arrival.account_id for arrival in arrivals}))
    found = session.execute(ACCOUNTS, {"accounts": plain_array(claimed)}).scalar_one() if claimed else None
    known_accounts = set(found or ())
    unknown = frozenset(arrival.account_id for arrival in arrivals) - known_accounts
    unique: dict[tuple[str, str], Arrival] = {}
    repeated = 0
    for arrival in arrivals:
        if arrival.account_id in known_accounts:
            first = unique.setdefault((arrival.account_id, arrival.message.message_id), arrival)
            repeated += first is not arrival
    if not unique:
        return Stored(0, 0, unknown)

    keys = _Keys(unique.values())
    begun = keys.find(session)
    row = session.execute(WRITE, _messages(list(unique.values()), keys)).one()
    if row.known + row.written != len(unique) or row.tallied != row.written:
        raise Raced("a concurrent batch stored one of these ids, or an account was deleted")
    if begun and row.known:
        session.execute(EMPTY, {"ids": plain_array(begun)})  # all that was new to one of them was known in another
    return Stored(row.written, row.known + repeated, unknown)


class _Keys:
    """The ids of the batch's contacts and conversations, by account and the sender's id."""

    def __init__(self, arrivals: Iterable[Arrival]) -> None:
        self.contacts: dict[Key, int] = {}
        self.conversations: dict[Key, int] = {}
        self._names: dict[Key, str | None] = {}
        wanted: set[Key] = set()
        for account_id, message, _ in arrivals:
            key = (account_id, message.author.id)
            self._names[key] = message.author.name if message.author.name is not None else self._names.get(key)
            wanted.add((account_id, message.conversation_id))
        self._missing = sorted(self._names), sorted(wanted)

    def find(self, session: WriteSession) -> list[int]:
        """Find all of them, making those that are missing; returns the conversations that were made."""
        self._look(session)
        contacts, conversations = self._missing
        begun: list[int] = []
        if contacts:
            made = session.execute(CONTACTS, self._values())
            self.contacts.update(((row.account_id, row.external_id), row.id) for row in made)
            self._missing = [], conversations
        if conversations:
            rows = session.execute(CONVERSATIONS, self._values()).all()
            self.conversations.update(((row.account_id, row.external_id), row.id) for row in rows)
            begun = [row.id for row in rows]
            self._missing = [], [key for key in conversations if key not in self.conversations]
        if self._missing[1]:  # another batch made them meanwhile
            self._look(session)
        if any(self._missing):
            raise Raced("an account was deleted")
        return begun

    def _look(self, session: WriteSession) -> None:
        contacts, conversations = self._missing
        found = session.execute(LOOK, self._values()).one()
        self.contacts.update(_there(contacts, found.contacts))
        self.conversations.update(_there(conversations, found.conversations))
        self._missing = (
            [key for key in contacts if key not in self.contacts],
            [key for key in conversations if key not in self.conversations],
        )

    def _values(self) -> dict[str, str]:
        contacts, conversations = self._missing
        return {
            "contact_accounts": plain_array([key[0] for key in contacts]),
            "contacts": text_array([key[1] for key in contacts]),
            "names": text_or_null_array([self._names[key] for key in contacts]),
            "accounts": plain_array([key[0] for key in conversations]),
            "conversations": text_array([key[1] for key in conversations]),
        }


def _there(keys: list[Key], ids: list[int | None] | None) -> Iterator[tuple[Key, int]]:
    return ((key, it) for key, it in zip(keys, ids or [], strict=True) if it is not None)


def _messages(arrivals: list[Arrival], keys: _Keys) -> dict[str, str]:
    messages = [arrival.message for arrival in arrivals]
    return {
        "accounts": plain_array([arrival.account_id for arrival in arrivals]),
        "ids": text_array([message.message_id for message in messages]),
        "conversations": plain_array([keys.conversations[it.account_id, it.message.conversation_id] for it in arrivals]),
        "contacts": plain_array([keys.contacts[it.account_id, it.message.author.id] for it in arrivals]),
        "texts": text_array([message.text for message in messages]),
        "metadata": text_or_null_array([encode_metadata(message) if message.metadata else None for message in messages]),
        "sent": plain_array([message.sent_at.isoformat() for message in messages]),
        "received": plain_array([it.received_at and it.received_at.isoformat() for it in arrivals]),
        "shards": plain_array([shard_of(message.conversation_id) for message in messages]),
    }
