"""Checkout: what it costs to take a connection from the pool and give it back, by how its health is checked.

Against no check at all, which hands out what the server has closed, and against SQLAlchemy's `pool_pre_ping`, which asks the
server each time. All over the same driver, settings and server, each in turn, several rounds. The server is on a Unix socket, so
a round trip is as cheap as it ever is, and the difference the smallest that there is. Afterwards every idle connection is
killed: none may reach a caller.
"""

from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from time import perf_counter

from sqlalchemy import Engine, create_engine, text
from sqlalchemy.exc import DBAPIError

from shared.db import connection
from shared.db.engine import create, use
from shared.db.role import TOOL, Role
from shared.settings import settings
from tests.benchmarks.ground import Ground
from tests.benchmarks.verdict import Bound, Series, Verdict, ratio

POOL = Role("bench", size=4, serves=True)
OURS, UNCHECKED, PINGED = "ours, checked and measured", "no check", "pool_pre_ping"
RATIO_MIN = 2.0
OPENED = 50
"""Connections opened anew, for comparison: what a pool saves."""

KILL = "SELECT count(pg_terminate_backend(pid, 5000)) FROM pg_stat_activity WHERE application_name LIKE 'headrace-bench-%%'"


def run(ground: Ground, *, count: int, rounds: int, say: Callable[[str], None]) -> Verdict:
    """``count`` checkouts a round and side."""
    with sides() as engines:
        times: dict[str, list[float]] = {name: [] for name in engines}
        statements: dict[str, list[float]] = {name: [] for name in engines}
        for _ in range(rounds):
            for name, engine in engines.items():
                times[name].append(_checkouts(engine, count))
                statements[name].append(_statements(engine, max(1, count // 10)))
                say(f"checkout: {name} {times[name][-1]:.1f} us")
        killed, survived = _kill(ground, engines[OURS])
        opened = Series("a connection opened anew", "us", _open(engines[OURS]))
    bare = {name: Series(name, "us", values) for name, values in times.items()}
    whole = [Series(f"{name}, with a statement in a transaction", "us", values) for name, values in statements.items()]
    bounds = [
        ratio("a checkout's time", bare[PINGED], bare[OURS], RATIO_MIN),
        Bound("of the killed idle connections none reaches a caller", survived, killed, unit="checkouts"),
    ]
    return Verdict("checkout", {"checkouts": count, "rounds": rounds}, [*bare.values(), *whole, opened], bounds, [])


@contextmanager
def sides() -> Iterator[dict[str, Engine]]:
    """An engine for each."""
    config = settings()
    use(POOL)

    def peer(ping: bool) -> Engine:
        url, arguments = connection.address(config.required("database_url")), connection.arguments(config, POOL.name)
        return create_engine(url, pool_size=POOL.size, pool_use_lifo=True, pool_pre_ping=ping, connect_args=arguments)

    engines = {UNCHECKED: peer(False), OURS: create(config, "primary"), PINGED: peer(True)}
    try:
        yield engines
    finally:
        for engine in engines.values():
            engine.dispose()
        use(TOOL)


def _checkouts(engine: Engine, count: int) -> float:
    engine.connect().close()
    started = perf_counter()
    for _ in range(count):
        engine.raw_connection().close()
    return (perf_counter() - started) / count * 1e6


def _statements(engine: Engine, count: int) -> float:
    statement = text("SELECT 1")
    started = perf_counter()
    for _ in range(count):
        with engine.connect() as taken:
            taken.execute(statement)
    return (perf_counter() - started) / count * 1e6


def _kill(ground: Ground, engine: Engine) -> tuple[int, int]:
    """How many connections were idle in the pool when they were killed, and how many checkouts worked then."""
    with ExitStack() as held:
        for _ in range(POOL.size):
            held.enter_context(engine.connect()).execute(text("SELECT 1"))
    ground.one(KILL)
    survived = 0
    with ExitStack() as held:
        for _ in range(POOL.size):
            try:
                held.enter_context(engine.connect()).execute(text("SELECT 1"))
                survived += 1
            except DBAPIError:
                continue
    return POOL.size, survived


def _open(engine: Engine) -> list[float]:
    times = []
    for _ in range(OPENED):
        engine.dispose()
        started = perf_counter()
        engine.connect().close()
        times.append((perf_counter() - started) * 1e6)
    return times
