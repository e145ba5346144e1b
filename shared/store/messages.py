"""Storing a batch of messages: one statement and one transaction, whatever the batch's size.

Why it is right when batches run at once, when every message comes twice, and when one id is raced into two conversations:

* All locks are taken in one order, so no two batches wait for each other: new contacts, then new conversations, each sorted as
  bytes, then the other conversations' rows by id, then message ids, then the accounts' counts, then renamed contacts by id. Each
  part depends on a count of the one before, so that none runs early.
* Ids that are known are left out. What is left moves each conversation's ``message_count`` on, which locks its row, and is
  numbered from where the count stood; a new conversation is inserted with its count. An id, or who is new, that a concurrent
  batch inserted meanwhile makes an insert return fewer rows than were numbered. Then the numbering has a gap, so all of it is
  rolled back and run again, and the rerun knows the id. Inserting with DO NOTHING alone would leave the gap or drop the message.
"""

from collections.abc import Sequence
from datetime import datetime
from typing import NamedTuple

from sqlalchemy import text

from shared.db.arrays import plain_array, text_array, text_or_null_array, time_array
from shared.db.queries import define
from shared.db.session import Raced, WriteSession
from shared.message import Message, encode_metadata
from shared.store.accounts import uuid_or_none
from shared.topology import shard_of

# `nth` numbers the batch's conversations: those that are there by id, then the new ones by name; so `counts[nth]` is where one
# stood, and `made[nth - count of the others]` the id of a new one. `contact_nth` numbers the new contacts.
# `placed` is empty when a conversation has gone, or when another batch made it or a contact, which the counts at the end show.
# Whether an account is there is asked of the few that have neither: as EXISTS it might be planned as a list of all accounts.
# An account's whole share of the batch is counted in one of its lanes' rows: these lanes are all the same consumer's.
WRITE = define(
    "messages.write",
    text("""
WITH batch AS MATERIALIZED (
    SELECT b.account_id, b.message_id, b.conversation, b.contact, b.name, b.text, b.metadata, b.sent_at, b.shard, b.place,
           coalesce(b.received_at, now()) AS received_at, m.id IS NOT NULL AS known, v.id AS conversation_id, c.id AS contact_id,
           c.id IS NOT NULL AND b.name IS DISTINCT FROM c.name AND b.name IS NOT NULL AS renames,
           CASE WHEN c.id IS NULL AND v.id IS NULL THEN (SELECT a.id FROM accounts a WHERE a.id = b.account_id) IS NULL
                ELSE false END AS stray
    FROM unnest(CAST(:accounts AS uuid[]), CAST(:ids AS text[]), CAST(:conversations AS text[]), CAST(:contacts AS text[]),
                CAST(:names AS text[]), CAST(:texts AS text[]), CAST(:metadata AS text[]), CAST(:sent AS timestamptz[]),
                CAST(:received AS timestamptz[]), CAST(:shards AS smallint[])) WITH ORDINALITY
         AS b(account_id, message_id, conversation, contact, name, text, metadata, sent_at, received_at, shard, place)
    LEFT JOIN messages m ON m.account_id = b.account_id AND m.message_id = b.message_id
    LEFT JOIN conversations v ON v.account_id = b.account_id AND v.external_id = b.conversation
    LEFT JOIN contacts c ON c.account_id = b.account_id AND c.external_id = b.contact
), fresh AS (
    SELECT b.*, CASE WHEN conversation_id IS NULL THEN account_id END AS new_account,
           CASE WHEN conversation_id IS NULL THEN conversation END COLLATE "C" AS new_conversation,
           CASE WHEN contact_id IS NULL THEN account_id END AS contact_account,
           CASE WHEN contact_id IS NULL THEN contact END COLLATE "C" AS new_contact
    FROM batch b WHERE NOT known AND NOT stray
), ranked AS MATERIALIZED (
    SELECT f.*, row_number() OVER (PARTITION BY conversation_id, new_account, new_conversation ORDER BY place) AS rank,
           dense_rank() OVER (ORDER BY conversation_id, new_account, new_conversation) AS nth,
           dense_rank() OVER (ORDER BY contact_account, new_contact) AS contact_nth
    FROM fresh f
), made_contacts AS (
    INSERT INTO contacts (account_id, external_id, name)
    SELECT account_id, contact, (array_agg(name ORDER BY place DESC) FILTER (WHERE name IS NOT NULL))[1]
    FROM ranked WHERE contact_id IS NULL
    GROUP BY contact_nth, account_id, contact ORDER BY contact_nth
    ON CONFLICT (account_id, external_id) DO NOTHING
    RETURNING account_id, external_id, id
), contact_ids AS MATERIALIZED (
    SELECT array_agg(id ORDER BY account_id, external_id COLLATE "C") AS made, count(*) AS count FROM made_contacts
), made AS (
    INSERT INTO conversations (account_id, external_id, message_count, last_message_at)
    SELECT account_id, conversation, count(*), max(received_at)
    FROM contact_ids, ranked WHERE conversation_id IS NULL
    GROUP BY nth, account_id, conversation ORDER BY nth
    ON CONFLICT (account_id, external_id) DO NOTHING
    RETURNING account_id, external_id, id
), conversation_ids AS MATERIALIZED (
    SELECT array_agg(id ORDER BY account_id, external_id COLLATE "C") AS made, count(*) AS count FROM made
), moved AS (
    UPDATE conversations v
    SET message_count = v.message_count + n.rows, last_message_at = greatest(v.last_message_at, n.latest)
    FROM (SELECT conversation_id, count(*) AS rows, max(received_at) AS latest FROM conversation_ids, ranked
          WHERE conversation_id IS NOT NULL GROUP BY conversation_id ORDER BY conversation_id) n
    WHERE v.id = n.conversation_id
    RETURNING v.id, v.message_count - n.rows AS before
), stood AS MATERIALIZED (
    SELECT array_agg(before ORDER BY id) AS counts, count(*) AS count FROM moved
), placed AS MATERIALIZED (
    SELECT r.account_id, r.message_id, coalesce(r.conversation_id, v.made[r.nth - s.count]) AS conversation_id,
           coalesce(r.contact_id, c.made[r.contact_nth]) AS contact_id, coalesce(s.counts[r.nth], 0) + r.rank AS sequence,
           r.text, r.metadata, r.sent_at, r.received_at, r.shard
    FROM stood s, conversation_ids v, contact_ids c, ranked r
    WHERE (s.count + v.count, c.count) = (
        SELECT max(nth), coalesce(max(contact_nth) FILTER (WHERE contact_id IS NULL), 0) FROM ranked)
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
    FROM (SELECT account_id, min(shard) AS shard, count(*) AS messages, count(*) FILTER (WHERE sequence = 1) AS conversations
          FROM total, placed WHERE total.rows > 0
          GROUP BY account_id ORDER BY account_id) n
    WHERE a.account_id = n.account_id AND a.shard = n.shard
    RETURNING n.messages
), renamed AS (
    UPDATE contacts c SET name = n.name
    FROM (SELECT contact_id, (array_agg(name ORDER BY place DESC))[1] AS name FROM (SELECT count(*) FROM tallied) AS last, ranked
          WHERE (SELECT bool_or(renames) FROM ranked) AND contact_id IS NOT NULL AND name IS NOT NULL
          GROUP BY contact_id ORDER BY contact_id) n
    WHERE c.id = n.contact_id AND c.name IS DISTINCT FROM n.name
)
SELECT (SELECT count(*) FROM batch WHERE known) AS known, (SELECT rows FROM total) AS written,
       (SELECT coalesce(sum(messages), 0) FROM tallied) AS tallied,
       (SELECT array_agg(DISTINCT CAST(account_id AS text)) FROM batch WHERE stray) AS strangers
"""),
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
    no_ids = {account_id for account_id in {arrival.account_id for arrival in arrivals} if not uuid_or_none(account_id)}
    unique: dict[Key, Arrival] = {}
    for arrival in arrivals:
        if arrival.account_id not in no_ids:
            unique.setdefault((arrival.account_id, arrival.message.message_id), arrival)
    if not unique:
        return Stored(0, 0, frozenset(no_ids))

    row = session.execute(WRITE, _values(list(unique.values()))).one()
    unknown = no_ids.union(row.strangers or ())
    firsts = sum(account_id not in unknown for account_id, _ in unique)
    if row.known + row.written != firsts or row.tallied != row.written:
        raise Raced("a concurrent batch stored one of these ids, or an account was deleted")
    stored = sum(arrival.account_id not in unknown for arrival in arrivals)
    return Stored(row.written, stored - row.written, frozenset(unknown))


def _values(arrivals: list[Arrival]) -> dict[str, str]:
    accounts, messages, received = zip(*arrivals, strict=True)
    return {
        "accounts": plain_array(accounts),
        "ids": text_array([message.message_id for message in messages]),
        "conversations": text_array([message.conversation_id for message in messages]),
        "contacts": text_array([message.author.id for message in messages]),
        "names": text_or_null_array([message.author.name for message in messages]),
        "texts": text_array([message.text for message in messages]),
        "metadata": text_or_null_array([encode_metadata(message) if message.metadata else None for message in messages]),
        "sent": time_array([message.sent_at for message in messages]),
        "received": time_array(received),
        "shards": plain_array([shard_of(message.conversation_id) for message in messages]),
    }
