"""Messages, accounts and ways to count them, for tests."""

import json
from typing import Any
from uuid import uuid4

from sqlalchemy import text

from shared.clock import utc_now, wall_seconds
from shared.db.session import read_session, transact
from shared.envelope import Enqueued, envelope
from shared.message import Author, Message, encode_queued
from shared.store import accounts, messages
from shared.store.messages import Arrival, Stored
from shared.topology import STORE_MESSAGES, lane_of


def new_account(name: str = "") -> str:
    """A fresh account's id."""
    return transact(lambda session: accounts.create(session, name or f"account-{uuid4()}")).id


def message(message_id: str, conversation_id: str = "c-1", **changes: Any) -> Message:
    """A valid message."""
    values = {"author": Author("u-1", "Ada"), "text": f"text of {message_id}", "sent_at": utc_now(), **changes}
    return Message(message_id, conversation_id, **values)


def as_json(message_id: str, conversation_id: str = "c-1", **changes: Any) -> dict[str, Any]:
    """A valid message as a producer writes it."""
    return {
        "message_id": message_id,
        "conversation_id": conversation_id,
        "author": {"id": "u-1", "name": "Ada"},
        "text": f"text of {message_id}",
        "sent_at": "2026-11-24T09:00:00Z",
        "metadata": {},
        **changes,
    }


def queued(account_id: str, it: Message) -> Enqueued:
    """The message as our producer queues it."""
    lane = lane_of(account_id, it.conversation_id)
    body = encode_queued(account_id, it)
    return envelope(STORE_MESSAGES, body, lane=lane, accepted_at=wall_seconds(), via="api")


def raw_queued(account_id: str, fields: dict[str, Any]) -> Enqueued:
    """Any fields, valid or not, as `messages.store`'s argument."""
    body = json.dumps({"account_id": account_id, **fields}).encode()
    return envelope(STORE_MESSAGES, body, lane=0, accepted_at=wall_seconds(), via="api")


def store(arrivals: list[Arrival]) -> Stored:
    """Store them in a transaction of its own, as a batch does."""
    return transact(lambda session: messages.store(session, arrivals))


def rows(sql: str, **values: Any) -> list[Any]:
    """The rows of a query."""
    with read_session() as session:
        return list(session.execute(text(sql), values))


def count(sql: str, **values: Any) -> int:
    """The one number that a query returns."""
    number: int = rows(sql, **values)[0][0]
    return number


def assert_sequences_whole() -> None:
    """Every conversation's sequences run 1..n without gap or repeat, and `message_count` is n."""
    broken = rows(
        "SELECT c.external_id, c.message_count, count(m.id), min(m.sequence), max(m.sequence), count(DISTINCT m.sequence)"
        " FROM conversations c LEFT JOIN messages m ON m.conversation_id = c.id GROUP BY c.id"
        " HAVING c.message_count <> count(m.id) OR (count(m.id) > 0 AND (min(m.sequence) <> 1 OR max(m.sequence) <> count(m.id)"
        " OR count(DISTINCT m.sequence) <> count(m.id)))"
    )
    assert broken == []
