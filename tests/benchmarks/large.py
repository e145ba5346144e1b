"""A large database, seeded in a minute or two: what the fleet would have written, written in bulk.

200 accounts, the first of which has a fifth of everything and most dead letters; 100,000 conversations, of which the newest 5,000
are active: half of the messages are theirs. A conversation's messages lie scattered over the table, as they do when many
conversations go on at once. Message ids are random, the worst case for an index. Keys that would slow the load down are dropped
and made again by sorting.
"""

from collections.abc import Callable
from typing import Any

import psycopg

ACCOUNTS = 200
CONVERSATIONS = 100_000
ACTIVE = 5_000
DEAD_LETTERS = 50_000

ACCOUNT = "('00000000-0000-4000-8000-' || lpad(({number})::text, 12, '0'))::uuid"
"""The account with a number, 0 to 199, in SQL."""

OWNER = "(CASE WHEN {conversation} % 5 = 0 THEN 0 ELSE {conversation} % 200 END)"
"""The number of the account that a conversation, 1 to 100,000, belongs to."""

_account = ACCOUNT.format(number="n")
_owner = ACCOUNT.format(number=OWNER.format(conversation="n"))
_conversation = f"""CASE WHEN n % 2 = 0 THEN {CONVERSATIONS - ACTIVE} + 1 + (n / 2) % {ACTIVE}
                         ELSE 1 + (n / 2) % {CONVERSATIONS - ACTIVE} END"""
_sequence = f"""CASE WHEN n % 2 = 0 THEN 1 + (n / 2) / {ACTIVE} ELSE 1 + (n / 2) / {CONVERSATIONS - ACTIVE} END"""

STEPS = (
    "SET session_replication_role = replica",  # no foreign key is looked up five million times
    "SET maintenance_work_mem = '256MB'",
    f"""INSERT INTO accounts (id, name, api_key_hash) SELECT {_account}, 'account-' || n, sha256(n::text::bytea)
        FROM generate_series(0, {ACCOUNTS - 1}) n""",
    f"""INSERT INTO channels (id, account_id, source, secret) SELECT {_account}, {_account}, 'standard', 'whsec_'
        FROM generate_series(0, {ACCOUNTS - 1}) n""",
    f"""INSERT INTO contacts (account_id, external_id, name) SELECT {_owner}, 'customer-' || n, 'Customer ' || n
        FROM generate_series(1, {CONVERSATIONS}) n""",
    "ALTER TABLE messages DROP CONSTRAINT messages_pkey, DROP CONSTRAINT messages_account_id_message_id_key",
    f"""INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, metadata, sent_at, received_at,
                              stored_at)
        SELECT {ACCOUNT.format(number=OWNER.format(conversation="c"))}, md5(n::text)::uuid::text, c, c, s,
               repeat('hello parcel invoice ', 1 + n % 15), jsonb_build_object('ordinal', n), t, t, t
        FROM (SELECT n, {_conversation} AS c, {_sequence} AS s,
                     now() - interval '90 days' * (1 - n::float8 / %(rows)s) AS t
              FROM generate_series(0, %(rows)s - 1) n) AS made""",
    """ALTER TABLE messages ADD CONSTRAINT messages_pkey PRIMARY KEY (id),
                             ADD CONSTRAINT messages_account_id_message_id_key UNIQUE (account_id, message_id)""",
    f"""INSERT INTO conversations (account_id, external_id, message_count, last_message_at)
        SELECT {_owner}, 'conversation-' || n, coalesce(m.rows, 0), m.latest
        FROM generate_series(1, {CONVERSATIONS}) n
        LEFT JOIN (SELECT conversation_id, count(*) AS rows, max(received_at) AS latest FROM messages GROUP BY 1) m
               ON m.conversation_id = n
        ORDER BY n""",
    """INSERT INTO account_counts (account_id, shard, messages, conversations)
       SELECT a.id, s, coalesce(sum(c.message_count), 0), count(c.id)
       FROM accounts a CROSS JOIN generate_series(0, 7) s LEFT JOIN conversations c ON c.account_id = a.id AND c.id % 8 = s
       GROUP BY 1, 2""",
    f"""INSERT INTO dead_letters (queue, task, task_id, account_id, message_id, reason, history, headers, body)
        SELECT 'messages.' || lpad((d % 32)::text, 2, '0'), 'messages.store', d::text, ({_account})::text, d::text,
               'invalid message', '[]', '{{}}', '[]'
        FROM (SELECT d, CASE WHEN d % 5 = 0 THEN d / 5 % {ACCOUNTS} ELSE 0 END AS n
              FROM generate_series(1, {DEAD_LETTERS}) d) AS made""",
    "SET session_replication_role = origin",
)


def seed(database_url: str, rows: int, say: Callable[[str], None]) -> None:
    """Fill empty tables of revision 0003 with ``rows`` messages; vacuumed, analyzed and written to disk afterwards."""
    with psycopg.connect(database_url, autocommit=True) as connection:
        with psycopg.ClientCursor(connection) as cursor:
            for number, step in enumerate(STEPS, 1):
                _run(cursor, step, rows)
                say(f"queries: seeding, step {number} of {len(STEPS) + 1}")
        connection.execute("VACUUM (ANALYZE)")
        connection.execute("CHECKPOINT")


def _run(cursor: Any, step: str, rows: int) -> None:
    cursor.execute(step.replace("%(rows)s", str(rows)))


def account_id(number: int) -> str:
    """The id of the account with this number; 0 is the largest."""
    return f"00000000-0000-4000-8000-{number:012d}"


def owner_of(conversation: int) -> str:
    """The account of a conversation, 1 to CONVERSATIONS."""
    return account_id(0 if conversation % 5 == 0 else conversation % ACCOUNTS)
