"""What the database holds of a run, read directly: the fleet is not asked to vouch for itself.

Rows are streamed, a page at a time, and counted as they come; memory does not grow with their number but for the two latencies.
"""

from array import array
from collections.abc import Iterator, Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import TextClause, text

from loadgen.audit import Audit, Row
from loadgen.scenario import ORDINAL, Scenario
from shared.clock import utc_now
from shared.db.session import ReadSession, read_session

PAGE_ROWS = 2_000

SETTLED = text("""
SELECT (SELECT coalesce(sum(message_count), 0)::bigint FROM conversations WHERE account_id = ANY(CAST(:accounts AS uuid[])))
     + (SELECT count(*) FROM dead_letters WHERE account_id = ANY(CAST(:accounts AS text[])))
""")

ROWS = text(f"""
SELECT message_id, conversation_id, sequence, metadata ->> '{ORDINAL}' AS ordinal, received_at, stored_at
FROM messages WHERE account_id = CAST(:account AS uuid) ORDER BY conversation_id, sequence
""")  # noqa: S608 - a constant of ours

COUNTS = text("SELECT id, message_count FROM conversations WHERE account_id = CAST(:account AS uuid)")

DEAD = text("SELECT message_id, body FROM dead_letters WHERE account_id = :account")

CLOCK = text("SELECT clock_timestamp() AS now, current_setting('server_version') AS version")


class Probe:
    """Reads what became of the messages of ``scenario``, which belong to ``account_ids``."""

    def __init__(self, scenario: Scenario, account_ids: Sequence[str]) -> None:
        self._scenario = scenario
        self._account_ids = list(account_ids)
        self.message_counts: dict[int, int] = {}
        self.commit = array("d")
        """Seconds from accepted to stored, as the rows have it."""
        self.whole = array("d")
        """Seconds from due to stored."""
        self.last_stored_at: datetime | None = None

    def settled(self) -> int:
        """How many are stored or dead-lettered so far, by the conversations' own counts: cheap enough to ask every moment."""
        with read_session() as session:
            count: int = session.execute(SETTLED, {"accounts": self._account_ids}).scalar_one()
        return count

    def read_into(self, audit: Audit, started_at: datetime, rate: float) -> None:
        """Every row and dead letter of the run into ``audit``; replaces what was read before.

        Args:
            audit: a fresh one.
            started_at: when message 0 was due, on the database's clock.
            rate: messages a second.
        """
        self.message_counts, self.commit, self.whole, self.last_stored_at = {}, array("d"), array("d"), None
        with read_session() as session:
            for account_id in self._account_ids:
                values = {"account": account_id}
                self._read_rows(session, values, audit, started_at, rate)
                self.message_counts.update((row.id, row.message_count) for row in _pages(session, COUNTS, values))
                for letter in _pages(session, DEAD, values):
                    # A webhook that could not be parsed has no id of its own, but its body contains it.
                    number = self._scenario.number_of(letter.message_id or letter.body.decode(errors="replace"))
                    if number is not None:
                        audit.dead(number)

    def _read_rows(self, session: ReadSession, values: dict[str, str], audit: Audit, started_at: datetime, rate: float) -> None:
        for row in _pages(session, ROWS, values):
            number = self._scenario.number_of(row.message_id)
            if number is None:
                continue  # not of this run; its conversation's sequence shows a gap then
            audit.row(Row(number, row.conversation_id, row.sequence, int(row.ordinal or 0)))
            self.commit.append((row.stored_at - row.received_at).total_seconds())
            self.whole.append((row.stored_at - started_at).total_seconds() - number / rate)
            self.last_stored_at = max(self.last_stored_at or row.stored_at, row.stored_at)


def clock_offset_and_version() -> tuple[float, str]:
    """(seconds that the database's clock is ahead of ours, the server's version)."""
    with read_session() as session:
        session.execute(CLOCK)  # connects; the second time measures the round trip alone
        before = utc_now()
        row = session.execute(CLOCK).one()
        after = utc_now()
    return (row.now - before).total_seconds() - (after - before).total_seconds() / 2, row.version


def _pages(session: ReadSession, statement: TextClause, values: dict[str, str]) -> Iterator[Any]:
    """Rows through a cursor on the server."""
    return iter(session.execute(statement, values, execution_options={"yield_per": PAGE_ROWS}))
