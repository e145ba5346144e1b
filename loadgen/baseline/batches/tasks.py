"""`messages.store` by celery-batches 0.11 on Celery 5.6 (the newest it takes): a set-based write for up to 200 messages.

As good as a sensible engineer makes it in an hour: one transaction a batch with a constant number of statements over arrays, keys
sorted so that two children never deadlock, conversations locked before they count, a batch that raced another run again. The
prefetch holds a batch for each child and one more of each in the making; the interval is long enough that batches fill up.

It stores into the same tables as Headrace and imports nothing of it. The broker's address comes from CELERY_BROKER_URL, the
database's from libpq's PG* variables, each read by its own library.
"""

import json
from typing import Any

import psycopg
from celery import Celery
from celery.signals import worker_process_init
from celery_batches import Batches  # type: ignore[import-not-found]

FLUSH_EVERY = 200
FLUSH_SECONDS = 0.5
ATTEMPTS_MAX = 5

app = Celery("batches")
app.conf.update(
    task_acks_late=True,
    task_ignore_result=True,
    worker_prefetch_multiplier=2 * FLUSH_EVERY,
    broker_connection_retry_on_startup=True,
)

CONTACTS = """
INSERT INTO contacts (account_id, external_id, name)
SELECT b.account_id, b.external_id, b.name
FROM unnest(%(accounts)s::uuid[], %(authors)s::text[], %(names)s::text[]) AS b(account_id, external_id, name)
LEFT JOIN contacts c USING (account_id, external_id)
WHERE c.id IS NULL OR b.name IS DISTINCT FROM c.name
ORDER BY 1, 2
ON CONFLICT (account_id, external_id) DO UPDATE SET name = coalesce(excluded.name, contacts.name)
"""

CONVERSATIONS = """
INSERT INTO conversations (account_id, external_id)
SELECT b.account_id, b.external_id
FROM unnest(%(accounts)s::uuid[], %(conversations)s::text[]) AS b(account_id, external_id)
LEFT JOIN conversations c USING (account_id, external_id)
WHERE c.id IS NULL
ORDER BY 1, 2
ON CONFLICT (account_id, external_id) DO NOTHING
"""

LOCKS = """
SELECT c.id
FROM unnest(%(accounts)s::uuid[], %(conversations)s::text[]) AS b(account_id, external_id)
JOIN conversations c USING (account_id, external_id)
ORDER BY account_id, external_id
FOR NO KEY UPDATE OF c
"""

MESSAGES = """
WITH batch AS (
    SELECT b.*, c.id AS conversation_id, k.id AS contact_id, c.message_count
    FROM unnest(%(accounts)s::uuid[], %(ids)s::text[], %(conversations)s::text[], %(authors)s::text[], %(texts)s::text[],
                %(metadata)s::jsonb[], %(sent)s::timestamptz[])
         WITH ORDINALITY AS b(account_id, message_id, conversation, author, text, metadata, sent_at, place)
    JOIN conversations c ON c.account_id = b.account_id AND c.external_id = b.conversation
    JOIN contacts k ON k.account_id = b.account_id AND k.external_id = b.author
), fresh AS (
    SELECT b.* FROM batch b LEFT JOIN messages m USING (account_id, message_id) WHERE m.id IS NULL
), written AS (
    INSERT INTO messages (account_id, message_id, conversation_id, contact_id, sequence, text, metadata, sent_at, received_at,
                          stored_at)
    SELECT account_id, message_id, conversation_id, contact_id,
           message_count + row_number() OVER (PARTITION BY conversation_id ORDER BY place), text, metadata, sent_at, now(),
           clock_timestamp()
    FROM fresh
    RETURNING conversation_id
)
UPDATE conversations c SET message_count = c.message_count + w.rows, last_message_at = now()
FROM (SELECT conversation_id, count(*) AS rows FROM written GROUP BY 1) w
WHERE c.id = w.conversation_id
"""

_connections: list[psycopg.Connection[tuple[Any, ...]]] = []


def connect(**_: Any) -> None:
    """One connection a child, made after the fork."""
    _connections[:] = [psycopg.connect()]


worker_process_init.connect(connect)


@app.task(  # type: ignore[untyped-decorator]
    name="messages.store", base=Batches, flush_every=FLUSH_EVERY, flush_interval=FLUSH_SECONDS
)
def store(requests: list[Any]) -> None:
    """Store a batch; a message whose id is known, or comes twice in the batch, has no effect."""
    messages = {(each["account_id"], each["message_id"]): each for each in (request.args[0] for request in requests)}
    for attempt in range(1, ATTEMPTS_MAX + 1):
        try:
            write(list(messages.values()))
            return
        except (psycopg.OperationalError, psycopg.IntegrityError):  # deadlock, or an id that another child took: see it now
            if attempt == ATTEMPTS_MAX:
                raise


def write(messages: list[dict[str, Any]]) -> None:
    """One transaction, four statements."""
    if _connections[0].closed:
        connect()
    connection = _connections[0]
    contacts = {(each["account_id"], each["author"]["id"]): each["author"].get("name") for each in messages}
    conversations = {(each["account_id"], each["conversation_id"]) for each in messages}
    keys = {"accounts": [key[0] for key in conversations], "conversations": [key[1] for key in conversations]}
    with connection.transaction():
        connection.execute(
            CONTACTS,
            {
                "accounts": [key[0] for key in contacts],
                "authors": [key[1] for key in contacts],
                "names": list(contacts.values()),
            },
        )
        connection.execute(CONVERSATIONS, keys)
        connection.execute(LOCKS, keys)
        connection.execute(
            MESSAGES,
            {
                "accounts": [each["account_id"] for each in messages],
                "ids": [each["message_id"] for each in messages],
                "conversations": [each["conversation_id"] for each in messages],
                "authors": [each["author"]["id"] for each in messages],
                "texts": [each["text"] for each in messages],
                "metadata": [json.dumps(each["metadata"]) if each["metadata"] else None for each in messages],
                "sent": [each["sent_at"] for each in messages],
            },
        )
