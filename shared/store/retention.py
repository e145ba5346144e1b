"""Deleting old messages, a bounded batch at a time.

``id`` grows with time, so the oldest messages are the first by primary key: no index serves retention alone. What stays is
all that promises depend on: `message_count` and with it the sequences to come, and the accounts' counts. Gone is the knowledge of
the ids: a pruned message that is sent once more is stored once more, at the end of its conversation.
"""

from typing import NamedTuple

from sqlalchemy import text

from shared.db.queries import define
from shared.db.session import WriteSession

ROWS_AT_ONCE = 2_000
"""Rows of one transaction: some 50 ms of work, far below every time-out."""

# First so many rows by id, then those of them that are old: looking for old ones alone would read the whole table where there
# are none. SKIP LOCKED: whoever has a row deletes it, be it another tick or an account's deletion, which locks in another order.
PRUNE = define(
    "retention.prune",
    text("""
WITH first AS MATERIALIZED (
    SELECT id, stored_at < now() - make_interval(days => CAST(:days AS int)) AS old
    FROM messages WHERE id > :after ORDER BY id LIMIT :rows
), chosen AS MATERIALIZED (
    SELECT id FROM messages WHERE id = ANY(ARRAY(SELECT id FROM first WHERE old)) ORDER BY id FOR UPDATE SKIP LOCKED
), gone AS (
    DELETE FROM messages WHERE id = ANY(ARRAY(SELECT id FROM chosen)) RETURNING id
)
SELECT (SELECT count(*) FROM gone) AS gone, (SELECT count(*) FROM first WHERE NOT old) AS young,
       (SELECT count(*) FROM first) AS seen, (SELECT max(id) FROM first) AS last
"""),
)


class Pruned(NamedTuple):
    """One batch: rows ``gone``, and where the next one begins; None when what follows is not old enough yet."""

    gone: int
    next_after: int | None


def prune(session: WriteSession, *, days: int, after: int = 0, rows: int = ROWS_AT_ONCE) -> Pruned:
    """Delete up to ``rows`` of the oldest messages, if they were stored more than ``days`` days ago by the database's clock.

    Args:
        days: 1 or more.
        after: `next_after` of the batch before; 0 for the first.
    """
    row = session.execute(PRUNE, {"days": days, "after": after, "rows": rows}).one()
    return Pruned(row.gone, row.last if row.seen == rows and not row.young else None)
