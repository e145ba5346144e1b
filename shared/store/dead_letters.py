"""Dead letters: messages given up on, whole and with their history, until an operator replays or purges them."""

import json
from collections.abc import Iterable, Sequence
from datetime import datetime
from hashlib import sha256
from typing import Any, NamedTuple

import orjson
from sqlalchemy import ColumnElement, bindparam, delete, func, or_, select
from sqlalchemy.dialects.postgresql import insert

from shared.db.models import DeadLetterRow
from shared.db.queries import define
from shared.db.session import ReadSession, WriteSession

REASON_LENGTH_MAX = 500
ID_LENGTH_MAX = 255
"""A longer task id is kept as its hash: an index takes 2,700 bytes. Celery's have 36."""

_row = DeadLetterRow
_attempts = func.jsonb_array_length(_row.history)
BURY = define("dead_letters.bury", insert(_row).on_conflict_do_nothing())
NEWEST = define(
    "dead_letters.newest",
    select(_row.id, _row.queue, _row.task, _row.account_id, _row.message_id, _row.reason, _attempts, _row.created_at)
    .order_by(_row.id.desc())
    .limit(50),
)
PAGE = define("dead_letters.page", select(_row).order_by(_row.id).limit(50))
FIND = define("dead_letters.find", select(_row).where(_row.id == bindparam("id")))
COUNTS = define("dead_letters.counts", select(_row.queue, func.count()).group_by(_row.queue))
NEWEST_ID = define("dead_letters.newest_id", select(func.max(_row.id)))
REMOVE = define("dead_letters.remove", delete(_row))
PURGE = define("dead_letters.purge", delete(_row).returning(_row.id))


class Letter(NamedTuple):
    """A message to be given up on.

    Args:
        queue: where it was consumed from, and where a replay puts it.
        task: the task's name; empty when the message named none.
        task_id: with ``queue``, the key: a message given up on twice is one dead letter.
        account_id: the account, if it could be read.
        message_id: the sender's id, if it could be read.
        reason: why, without the message's content.
        history: one entry an attempt: ``{"at", "outcome", "reason", "worker"}``.
        headers: the message's headers.
        body: the message's body, byte for byte.
    """

    queue: str
    task: str
    task_id: str
    account_id: str | None
    message_id: str | None
    reason: str
    history: list[dict[str, Any]]
    headers: dict[str, Any]
    body: bytes


class Filter(NamedTuple):
    """Which letters; an empty filter is all of them.

    Args:
        ids: only these.
        queue: the queue they were consumed from.
        reason: a part of the reason.
        account_id: as it stands in the message.
        before: dead since before this instant.
        up_to: no id above this: a walk through the letters ends, though some come back while it goes on.
    """

    ids: Sequence[int] | None = None
    queue: str | None = None
    reason: str | None = None
    account_id: str | None = None
    before: datetime | None = None
    up_to: int | None = None

    def conditions(self) -> list[ColumnElement[bool]]:
        """The filter in SQL."""
        conditions: list[ColumnElement[bool]] = []
        if self.ids is not None:
            conditions.append(DeadLetterRow.id.in_(self.ids))
        if self.queue is not None:
            lanes = DeadLetterRow.queue.startswith(f"{self.queue}.", autoescape=True)
            conditions.append(or_(DeadLetterRow.queue == self.queue, lanes))  # a kind is all its lanes
        if self.reason is not None:
            conditions.append(DeadLetterRow.reason.contains(self.reason, autoescape=True))
        if self.account_id is not None:
            conditions.append(DeadLetterRow.account_id == self.account_id)
        if self.before is not None:
            conditions.append(DeadLetterRow.created_at < self.before)
        if self.up_to is not None:
            conditions.append(DeadLetterRow.id <= self.up_to)
        return conditions


EVERY = Filter()


class Summary(NamedTuple):
    """What a list shows of a letter: nothing that a sender wrote but the ids.

    Args:
        attempts: entries of its history.
    """

    id: int
    queue: str
    task: str
    account_id: str | None
    message_id: str | None
    reason: str
    attempts: int
    created_at: datetime


def bury(session: WriteSession, letters: Sequence[Letter]) -> None:
    """Keep ``letters``; one that is kept already stays as it is."""
    rows = [_row_of(letter) for letter in letters]
    rows.sort(key=lambda row: (row["queue"], row["task_id"]))  # one lock order
    session.execute(BURY, rows)


def newest(session: ReadSession, wanted: Filter, *, limit: int) -> list[Summary]:
    """What may be listed of the letters that fit, the newest first, at most ``limit``."""
    found = session.execute(NEWEST.where(*wanted.conditions()).limit(limit))
    return [Summary(*values) for values in found]


def page(session: ReadSession, wanted: Filter, *, limit: int, after: int = 0) -> list[DeadLetterRow]:
    """Whole letters with an id above ``after``, the oldest first, at most ``limit``."""
    return list(session.scalars(PAGE.where(DeadLetterRow.id > after, *wanted.conditions()).limit(limit)))


def find(session: ReadSession, letter_id: int) -> DeadLetterRow | None:
    """The letter with this id."""
    return session.scalars(FIND, {"id": letter_id}).one_or_none()


def counts(session: ReadSession, wanted: Filter = EVERY) -> dict[str, int]:
    """Letters kept, by queue."""
    return {row[0]: row[1] for row in session.execute(COUNTS.where(*wanted.conditions()))}


def newest_id(session: ReadSession) -> int:
    """The highest id given, 0 when there is no letter; see `Filter.up_to`."""
    return session.scalar(NEWEST_ID) or 0


def remove(session: WriteSession, ids: Iterable[int]) -> None:
    """Forget these letters: they were replayed."""
    session.execute(REMOVE.where(DeadLetterRow.id.in_(list(ids))))


def purge(session: WriteSession, wanted: Filter, *, limit: int) -> int:
    """Delete the oldest letters that fit, at most ``limit``; returns how many."""
    chosen = select(DeadLetterRow.id).where(*wanted.conditions()).order_by(DeadLetterRow.id).limit(limit).with_for_update()
    gone = session.execute(PURGE.where(DeadLetterRow.id.in_(chosen)))
    return len(gone.all())


def _row_of(letter: Letter) -> dict[str, Any]:
    """The letter as a row. One that PostgreSQL refuses would come again for ever, so what it cannot hold stands as Python writes
    it; the body, which is all that a sender meant, stays byte for byte."""
    row = letter._asdict()
    for name in ("task", "task_id", "account_id", "message_id", "reason"):
        row[name] = row[name] and _storable(row[name])
    row["reason"] = row["reason"][:REASON_LENGTH_MAX]
    if len(row["task_id"]) > ID_LENGTH_MAX:
        row["task_id"] = sha256(row["task_id"].encode()).hexdigest()
    row["headers"] = _storable_object(letter.headers)
    row["history"] = [_storable_object(entry) for entry in letter.history]
    return row


def _storable(it: str) -> str:
    return it.replace("\0", "\\0").encode("utf-8", "backslashreplace").decode()


def _storable_object(values: dict[str, Any]) -> dict[str, Any]:
    return {_storable(name): value if _is_storable(value) else _written(value) for name, value in values.items()}


def _is_storable(value: Any) -> bool:
    try:
        written = orjson.dumps(value)  # refuses half a character, and what is nested too deep for whoever reads it next
        json.dumps(value, allow_nan=False)  # refuses NaN, and a date that kombu made
    except (TypeError, ValueError):
        return False
    return b"\\u0000" not in written


def _written(value: Any) -> str:
    try:
        return _storable(repr(value))
    except RecursionError:
        return f"{type(value).__name__}, nested too deep"
