"""PostgreSQL as a doctor sees it: durability, room, age, replication; and a replica that serves reads."""

from collections.abc import Iterator
from typing import Any, NamedTuple

from sqlalchemy import Connection, text

from workers.doctor.finding import NOTE, WRONG, Finding

VERSION_MIN = 150_000
"""PostgreSQL 15."""
FULL_RATIO = 0.8
"""Of the connections that a plain role may have."""
IDLE_SECONDS_MAX = 30
"""A transaction of ours does nothing for milliseconds; one that idles holds locks."""
LAG_SECONDS_MAX = 10.0
SKEW_SECONDS_MAX = 2.0
"""Of its clock and the broker's: lags are made of both."""
FROZEN_AGE_MAX = 1_000_000_000
"""Half of the transactions after which the server refuses writes."""
RETAINED_BYTES_MAX = 2**30
"""Of the log, kept for a slot that nobody reads."""

SERVER = text("""
SELECT current_setting('server_version_num')::int AS version, current_setting('server_version') AS version_text,
       current_setting('fsync') AS fsync, current_setting('synchronous_commit') AS synchronous_commit,
       current_setting('full_page_writes') AS full_page_writes, pg_is_in_recovery() AS in_recovery,
       current_setting('max_connections')::int - current_setting('superuser_reserved_connections')::int AS connections_max,
       (SELECT count(*) FROM pg_stat_activity WHERE backend_type = 'client backend') AS connections,
       (SELECT coalesce(max(extract(epoch FROM now() - state_change)), 0)::float8 FROM pg_stat_activity
         WHERE state LIKE 'idle in transaction%' AND datname = current_database()) AS idle_seconds,
       (SELECT age(datfrozenxid) FROM pg_database WHERE datname = current_database()) AS frozen_age,
       extract(epoch FROM clock_timestamp())::float8 AS clock,
       (SELECT coalesce(last_failed_time > coalesce(last_archived_time, '-infinity'), false)
          FROM pg_stat_archiver) AS archive_fails,
       CASE WHEN pg_is_in_recovery() THEN 0 ELSE
         (SELECT coalesce(max(pg_wal_lsn_diff(pg_current_wal_lsn(), restart_lsn)), 0)::float8 FROM pg_replication_slots
           WHERE NOT active) END AS retained_bytes
""")

STANDBYS = text("""
SELECT application_name AS name, state, coalesce(extract(epoch FROM replay_lag), 0)::float8 AS lag_seconds
FROM pg_stat_replication
""")

REPLAY = text("""
SELECT pg_is_in_recovery() AS in_recovery, CASE WHEN pg_last_wal_receive_lsn() = pg_last_wal_replay_lsn() THEN 0
       ELSE coalesce(extract(epoch FROM now() - pg_last_xact_replay_timestamp()), 0)::float8 END AS lag_seconds
""")


class DatabaseFacts(NamedTuple):
    """What the server said; ``server`` has the columns of SERVER, ``standbys`` rows of STANDBYS."""

    server: Any
    standbys: list[Any]
    revision: str | None
    newest_revision: str | None

    def __str__(self) -> str:
        at, of = self.server.connections, self.server.connections_max
        return f"PostgreSQL {self.server.version_text}, schema {self.revision or 'none'}, {at} of {of} connections"


class ReplicaFacts(NamedTuple):
    """What a reader's replica said."""

    in_recovery: bool
    lag_seconds: float

    def __str__(self) -> str:
        return f"{self.lag_seconds:.1f} s behind"


def ask(connection: Connection, revisions: tuple[str | None, str | None]) -> DatabaseFacts:
    """Ask it; ``revisions``: its schema's and the newest that this code knows. Raises SQLAlchemyError."""
    return DatabaseFacts(connection.execute(SERVER).one(), list(connection.execute(STANDBYS)), *revisions)


def ask_replica(connection: Connection) -> ReplicaFacts:
    """Ask a replica that serves reads. Raises SQLAlchemyError."""
    return ReplicaFacts(*connection.execute(REPLAY).one())


def of_database(facts: DatabaseFacts, broker_clock: float | None) -> Iterator[Finding]:
    """What is wrong. ``broker_clock``: what the broker's clock showed when this one's was read, if it was asked."""
    yield from _durability(facts.server)
    yield from _room(facts.server)
    if facts.revision != facts.newest_revision:
        yield _wrong(
            f"the schema is at revision {facts.revision or 'none'}, this code knows {facts.newest_revision}",
            "run `headrace db upgrade`; if the schema is the newer, upgrade headrace",
        )
    if broker_clock is not None and abs(facts.server.clock - broker_clock) > SKEW_SECONDS_MAX:
        yield _wrong(f"its clock and the broker's are {abs(facts.server.clock - broker_clock):.1f} s apart", "run chrony on both")
    for standby in facts.standbys:
        if standby.lag_seconds > LAG_SECONDS_MAX:
            problem = f"standby {standby.name} ({standby.state}) is {standby.lag_seconds:.0f} s behind"
            yield _wrong(problem, "look at its disk and its network; reads go to the primary meanwhile")


def of_replica(facts: ReplicaFacts) -> Iterator[Finding]:
    """What is wrong with a replica that serves reads."""
    if not facts.in_recovery:
        yield Finding(
            "replica",
            WRONG,
            "it follows nobody: it is a primary of its own",
            "make it anew (docs/deployment.md), or correct the URL",
        )
    elif facts.lag_seconds > LAG_SECONDS_MAX:
        yield Finding("replica", WRONG, f"it is {facts.lag_seconds:.0f} s behind", "look at its disk and its network")


def _durability(server: Any) -> Iterator[Finding]:
    if server.version < VERSION_MIN:
        yield _wrong(f"it is version {server.version_text}", "run PostgreSQL 15 or newer")
    if server.in_recovery:
        yield _wrong("it is a standby and takes no writes", "name the primary in HEADRACE_DATABASE_URL, or promote this one")
    losses = {"fsync": "a crash can destroy it", "full_page_writes": "a crash can tear pages"}
    for name, loss in losses.items():
        if getattr(server, name) == "off":
            yield _wrong(f"{name} is off: {loss}", f"set {name} = on in postgresql.conf, restart, and take a new base backup")
    if server.synchronous_commit in ("off", "local"):
        fix = "`ALTER SYSTEM SET synchronous_commit = on`, and look for an ALTER ROLE or ALTER DATABASE that sets it"
        yield _wrong(f"synchronous_commit is {server.synchronous_commit}: what was settled can be lost", fix)
    if server.archive_fails:
        yield _wrong(
            "archiving its log fails: no recovery to a point in time, and its disk fills", "see archive_command and its log"
        )


def _room(server: Any) -> Iterator[Finding]:
    if server.connections > FULL_RATIO * server.connections_max:
        problem = f"{server.connections} of {server.connections_max} connections are taken"
        yield _wrong(
            problem, "raise max_connections, or put PgBouncer in front (deploy/pgbouncer); `headrace check` adds them up"
        )
    if server.idle_seconds > IDLE_SECONDS_MAX:
        problem = f"a transaction has done nothing for {server.idle_seconds:.0f} s and holds its locks"
        yield _wrong(problem, "find it in pg_stat_activity (`idle in transaction`) and end it with pg_terminate_backend")
    if server.frozen_age > FROZEN_AGE_MAX:
        yield _wrong(f"its oldest transaction id is {server.frozen_age:,} old", "run VACUUM (FREEZE); see that autovacuum is on")
    if server.retained_bytes > RETAINED_BYTES_MAX:
        problem = f"a replication slot that nobody reads holds back {server.retained_bytes / 2**30:.1f} GiB of its log"
        yield Finding("database", NOTE, problem, "bring its standby back, or drop the slot (pg_replication_slots)")


def _wrong(problem: str, fix: str) -> Finding:
    return Finding("database", WRONG, problem, fix)
