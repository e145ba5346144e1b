"""Queries: what each hot one takes at five million messages, before and after the migration that builds the indexes; then the
write of 200-message batches alone and under load, and a step of retention.

A second database in the benchmarks' server: migrated to 0003, seeded (`large.py`), measured, migrated on, and measured again.
Times are the client's, from sending to the last row, through SQLAlchemy, over a Unix socket. What a unique key serves (the
look-up of an API key, of a channel) has nothing to win from an index and is held to the bound of reads only.
"""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from random import Random
from statistics import quantiles
from time import perf_counter

import psycopg
from sqlalchemy import text

from shared.db.engine import close_engine, engine
from shared.db.migrate import upgrade
from shared.db.session import ReadSession, WriteSession, read_session, write_session
from shared.settings import PREFIX, settings
from shared.store import accounts, channels, conversations, dead_letters, retention
from shared.store.dead_letters import Filter
from tests.benchmarks import large, writing
from tests.benchmarks.ground import Ground
from tests.benchmarks.verdict import Bound, Series, Verdict

DATABASE = "queries"
BEFORE = "0003"

RUNS = 200
RUNS_BEFORE = 40
"""Of a query that reads a table of gigabytes each time."""

LESS = 0.5
READ_MS, BATCH_MS, LOADED_MS = 10.0, 25.0, 100.0

SIZES = {
    "a message, in its table": "SELECT pg_table_size('messages')",
    "a message, in its indexes": "SELECT pg_indexes_size('messages')",
}

Say = Callable[[str], None]
Query = Callable[[ReadSession, Random], object]


def _active(random: Random) -> int:
    return large.CONVERSATIONS - random.randrange(large.ACTIVE)


def _page(session: ReadSession, random: Random) -> object:
    conversation = _active(random)
    name = f"conversation-{conversation}"
    return conversations.messages(session, large.owner_of(conversation), name, limit=50, after=random.randrange(400))


def _newest(session: ReadSession, random: Random) -> object:
    conversation = random.randrange(1_000, large.CONVERSATIONS)
    return conversations.newest(session, large.owner_of(conversation), limit=50, before=conversation)


def _stats(session: ReadSession, random: Random) -> object:
    return conversations.stats(session, large.account_id(random.randrange(1, large.ACCOUNTS)))


def _largest_stats(session: ReadSession, random: Random) -> object:
    return conversations.stats(session, large.account_id(0))


def _letters(session: ReadSession, random: Random) -> object:
    wanted = Filter(account_id=large.account_id(random.randrange(1, large.ACCOUNTS)))
    return dead_letters.newest(session, wanted, limit=50)


def _channels(session: ReadSession, random: Random) -> object:
    return channels.every(session, large.account_id(random.randrange(large.ACCOUNTS)))


def _key(session: ReadSession, random: Random) -> object:
    return accounts.id_of_key(session, accounts.hash_of(str(random.randrange(large.ACCOUNTS))))


def _channel(session: ReadSession, random: Random) -> object:
    return channels.find(session, large.account_id(random.randrange(large.ACCOUNTS)))


INDEXED: dict[str, Query] = {
    "a page of messages": _page,
    "a page of conversations": _newest,
    "an account's counts": _stats,
    "an account's newest dead letters": _letters,
}
KEYED: dict[str, Query] = {
    "the largest account's counts": _largest_stats,  # most dead letters are its own, so its index saves nothing
    "an API key's account": _key,
    "a channel": _channel,
    "an account's channels": _channels,
}


def run(ground: Ground, *, rows: int, seconds: float, say: Say) -> Verdict:
    """Seed ``rows`` messages and measure; the load runs for ``seconds``."""
    with _database(ground) as url:
        upgrade(to=BEFORE)
        large.seed(url, rows, say)
        before = _measured(INDEXED, "before", RUNS_BEFORE, say)
        contact = _contact_deleted("before", 5)
        started = perf_counter()
        upgrade(lambda line: say(f"queries: {line}"))
        built = Series("index migration", "s", [perf_counter() - started])
        with psycopg.connect(url, autocommit=True) as connection:
            connection.execute("VACUUM (ANALYZE)")
            connection.execute("CHECKPOINT")
            sizes = [Series(name, "bytes", [connection.execute(sql).fetchone()[0] / rows]) for name, sql in SIZES.items()]
        after = _measured(INDEXED, "after", RUNS, say)
        contact_after = _contact_deleted("after", RUNS_BEFORE)
        keyed = _measured(KEYED, "by key", RUNS, say)
        logged_whole, batches = writing.alone(say)
        loaded = writing.under_load(seconds, say)
        pruned = _pruned(say)
        faults = writing.faults()
    pairs = [*zip(before, after, strict=True), (contact, contact_after)]
    bounds = [_less(old, new) for old, new in pairs]
    bounds += [_bound(f"{each.name}, p95", each, READ_MS) for each in (*after, *keyed)]
    bounds += [
        _bound("a batch of 200, p95", batches, BATCH_MS),
        *(_bound(f"{it.name}, p95", it, LOADED_MS) for it in loaded if it.name[0] != "a"),
    ]
    series = [*(each for pair in pairs for each in pair), *keyed, built, logged_whole, batches, *loaded, pruned, *sizes]
    return Verdict("queries", {"rows": rows, "load": os.getloadavg()[0]}, [*series, *_p95s(series)], bounds, faults)


@contextmanager
def _database(ground: Ground) -> Iterator[str]:
    name = f"{PREFIX}DATABASE_URL"
    old = os.environ[name]
    ground.database.execute(f"DROP DATABASE IF EXISTS {DATABASE}")
    ground.database.execute(f"CREATE DATABASE {DATABASE}")
    os.environ[f"{PREFIX}DATABASE_SLOW_MS"] = "600000"  # most are slow before, and asking for their plans takes time too
    os.environ[name] = old.replace("/headrace?", f"/{DATABASE}?") if "?" in old else old.rsplit("/", 1)[0] + f"/{DATABASE}"
    close_engine()
    settings.cache_clear()
    try:
        yield os.environ[name]
    finally:
        close_engine()
        os.environ[name] = old
        del os.environ[f"{PREFIX}DATABASE_SLOW_MS"]
        settings.cache_clear()
        ground.database.execute(f"DROP DATABASE IF EXISTS {DATABASE} WITH (FORCE)")


def _measured(queries: dict[str, Query], when: str, runs: int, say: Say) -> list[Series]:
    found = []
    for name, query in queries.items():
        random, series = Random(name), Series(f"{name}, {when}", "ms", [])
        for _ in range(runs):
            with read_session() as session:
                session.connection()
                started = perf_counter()
                query(session, random)
                series.values.append((perf_counter() - started) * 1000)
        found.append(series)
        say(f"queries: {series.name}: p50 {series.median:,.2f} ms, p95 {_p95(series):,.2f} ms")
    return found


def _contact_deleted(when: str, runs: int) -> Series:
    """One contact of an account that is being deleted: its messages are looked for by foreign key. Rolled back."""
    series = Series(f"deleting a contact, {when}", "ms", [])
    statement = text("DELETE FROM contacts WHERE account_id = CAST(:account AS uuid) AND external_id = :contact")
    for number in range(runs):
        conversation = large.CONVERSATIONS // 2 + number
        values = {"account": large.owner_of(conversation), "contact": f"customer-{conversation}"}
        with WriteSession(engine()) as session:
            started = perf_counter()
            session.execute(statement, values)
            series.values.append((perf_counter() - started) * 1000)
    return series


def _pruned(say: Say) -> Series:
    series, after = Series(f"retention, {retention.ROWS_AT_ONCE} rows at once", "ms", []), 0
    for _ in range(30):
        started = perf_counter()
        with write_session() as session:
            batch = _prune(session, after)
        series.values.append((perf_counter() - started) * 1000)
        if batch.next_after is None:
            break
        after = batch.next_after
    say(f"queries: {series.name}: p50 {series.median:,.1f} ms")
    return series


def _prune(session: WriteSession, after: int) -> retention.Pruned:
    return retention.prune(session, days=60, after=after)


def _p95(series: Series) -> float:
    return quantiles(series.values, n=20, method="inclusive")[-1] if len(series.values) > 1 else series.values[0]


def _p95s(series: list[Series]) -> list[Series]:
    return [Series(f"{each.name}, p95", each.unit, [_p95(each)]) for each in series if len(each.values) > 1]


def _less(old: Series, new: Series) -> Bound:
    return Bound(f"{new.name} / before, p95", _p95(new) / _p95(old), LESS, at_least=False)


def _bound(what: str, series: Series, limit: float) -> Bound:
    return Bound(what, _p95(series), limit, at_least=False, unit=series.unit)
