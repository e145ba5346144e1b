"""Of the database: dead letters, connections by state, its size, the oldest open transaction."""

from collections import Counter

from sqlalchemy import text

from shared.db.engine import replica
from shared.db.role import Role
from shared.db.session import ReadSession, read_session
from shared.exporter_metrics import DB_CONNECTIONS, DB_CONNECTIONS_MAX, DB_OLDEST_TRANSACTION, DB_SIZE
from shared.metrics import DEAD_LETTERS
from shared.store import dead_letters
from shared.topology import KINDS, kind_of
from workers.exporter.source import Readings, Source

ACTIVITY = text("""
SELECT coalesce(state, 'other') AS state, count(*) AS connections,
       coalesce(max(extract(epoch FROM clock_timestamp() - xact_start)), 0) AS oldest
FROM pg_stat_activity WHERE backend_type = 'client backend' GROUP BY 1
""")
"""Another user's sessions show neither state nor times unless ours is in `pg_read_all_stats`; they are counted all the same."""

SIZES = text("SELECT current_setting('max_connections')::int, pg_database_size(current_database())")

EXPORTER = Role("exporter", size=1, overflow=1, serves=True)
"""It asks one question at a time."""

STATES = ("active", "idle", "idle in transaction")


class Database:
    """Reads it, through this process's engine."""

    def __init__(self) -> None:
        self._letters = Readings(DEAD_LETTERS, [(kind,) for kind in KINDS])
        self._connections = Readings(DB_CONNECTIONS, [(state,) for state in STATES])
        self._most, self._size = Readings(DB_CONNECTIONS_MAX, [()]), Readings(DB_SIZE, [()])
        self._oldest = Readings(DB_OLDEST_TRANSACTION, [()])

    def sources(self) -> tuple[Source, ...]:
        """All of it is one session."""
        return (Source("database", self.read, (self._letters, self._connections, self._most, self._size, self._oldest)),)

    def read(self) -> None:
        """Ask and show."""
        with read_session(fresh=True) as session:
            self._count_letters(session)
            self._look_at_the_server(session)
        if (it := replica()) is not None:
            it.refusal()  # has the lag measured, if nobody reads just now

    def _count_letters(self, session: ReadSession) -> None:
        letters: Counter[str] = Counter()
        for queue, count in dead_letters.counts(session).items():
            letters[kind_of(queue)] += count
        self._letters.show({(kind,): count for kind, count in letters.items()})

    def _look_at_the_server(self, session: ReadSession) -> None:
        activity = session.execute(ACTIVITY).all()
        self._connections.show({(row.state,): row.connections for row in activity})
        self._oldest.show({(): float(max((row.oldest for row in activity), default=0))})
        most, size = session.execute(SIZES).one()
        self._most.show({(): most})
        self._size.show({(): size})
