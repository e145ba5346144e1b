"""Reading conversations and their messages, page by page, and an account's counts."""

from typing import Any, NamedTuple
from uuid import UUID

from sqlalchemy import text

from shared.db.queries import define
from shared.db.session import ReadSession

PAGE_MAX = 200

CONVERSATIONS = define(
    "conversations.newest",
    text("""
SELECT id, external_id, message_count, last_message_at FROM conversations
WHERE account_id = :account AND id < :before ORDER BY id DESC LIMIT :limit
"""),
)

# The conversation is looked up apart: joined, it hides from the planner that the index has its messages in order, and a page
# would read and sort all that follow.
MESSAGES = define(
    "conversations.messages",
    text("""
SELECT m.message_id, m.sequence, k.external_id AS author_id, k.name AS author_name, m.text, m.sent_at, m.received_at
FROM messages m
JOIN contacts k ON k.id = m.contact_id
WHERE m.conversation_id = (SELECT id FROM conversations WHERE account_id = :account AND external_id = :conversation)
  AND m.sequence > :after
ORDER BY m.sequence LIMIT :limit
"""),
)

EXISTS = define(
    "conversations.exists",
    text("SELECT 1 FROM conversations WHERE account_id = :account AND external_id = :conversation"),
)

# Eight rows at most, written by the transactions that stored: exact, and also of what was pruned since.
STATS = define(
    "conversations.stats",
    text("""
SELECT coalesce(sum(messages), 0)::bigint AS messages, coalesce(sum(conversations), 0)::bigint AS conversations,
       (SELECT count(*) FROM dead_letters d WHERE d.account_id = CAST(:account AS text)) AS dead_letters
FROM account_counts WHERE account_id = CAST(:account AS uuid)
"""),
)


class Page(NamedTuple):
    """Items in order, and the cursor of the next page or None."""

    items: list[dict[str, Any]]
    next_cursor: int | None


def newest(session: ReadSession, account_id: str, *, limit: int, before: int | None) -> Page:
    """Conversations, the newest first; ``before`` is the last page's cursor. ``limit`` 1 to PAGE_MAX."""
    values = {"account": UUID(account_id), "before": before if before is not None else 2**63 - 1, "limit": limit + 1}
    rows = session.execute(CONVERSATIONS, values).all()
    items = [
        {
            "id": str(row.id),
            "conversation_id": row.external_id,
            "message_count": row.message_count,
            "last_message_at": row.last_message_at,
        }
        for row in rows[:limit]
    ]
    return Page(items, rows[limit - 1].id if len(rows) > limit else None)


def messages(session: ReadSession, account_id: str, conversation_id: str, *, limit: int, after: int) -> Page | None:
    """A conversation's messages in order from sequence ``after`` + 1 on; None when there is no such conversation."""
    key = {"account": UUID(account_id), "conversation": conversation_id}
    rows = session.execute(MESSAGES, {**key, "after": after, "limit": limit + 1}).all()
    if not rows and session.execute(EXISTS, key).first() is None:
        return None
    items = [
        {
            "message_id": row.message_id,
            "sequence": row.sequence,
            "author": {"id": row.author_id, "name": row.author_name},
            "text": row.text,
            "sent_at": row.sent_at,
            "received_at": row.received_at,
        }
        for row in rows[:limit]
    ]
    return Page(items, rows[limit - 1].sequence if len(rows) > limit else None)


def stats(session: ReadSession, account_id: str) -> dict[str, Any]:
    """Exact counts of everything ever stored for the account."""
    row = session.execute(STATS, {"account": account_id}).one()
    return {
        "messages": row.messages,
        "conversations": row.conversations,
        "replies": 0,
        "deliveries": {"pending": 0, "sent": 0, "failed": 0},
        "dead_letters": row.dead_letters,
    }
