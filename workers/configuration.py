"""Is the configuration sound? Rules over the settings and over what the servers say of themselves; pure.

Each fault names the setting and the fix. `headrace check` asks the servers and prints the answer.
"""

from collections.abc import Iterator
from typing import NamedTuple

from shared.cache.client import is_cluster
from shared.db.role import TOOL
from shared.settings import PREFIX, Settings
from workers.exporter.database import EXPORTER
from workers.lifecycle import CHILD

TOOLS = 3
"""Beside the fleet: a migration, a person with psql and one with the command line."""

CONNECTIONS_ASIDE = EXPORTER.connections + TOOLS * TOOL.connections
"""Beat and Flower hold none: they only talk to the broker."""


PARENT_MB = 80
"""A worker's parent under load (docs/memory.md)."""


class Fault(NamedTuple):
    """What is wrong, and the mend.

    Args:
        setting: the environment variable to change, or the server's.
        serious: False for what works, only not well: it is a warning, and no reason to exit with 1.
    """

    setting: str
    problem: str
    fix: str
    serious: bool = True


class Fleet(NamedTuple):
    """How many processes hold connections."""

    workers: int
    ingresses: int


class DatabaseFacts(NamedTuple):
    """What a PostgreSQL says of itself. Revisions as Alembic names them.

    Args:
        reserved: connections kept for superusers and the like.
        role_limit: what our role may open; None: as many as there are.
        database_limit: what our database takes; None likewise.
        statement_ms: the time-out that our statements have there; None: not asked.
        system: differs between any two clusters, and is a replica's and its primary's in common.
        follows: it is a replica.
        pooled: who answers our connection is another session than the one that was opened: a pooler stands between.
    """

    max_connections: int
    reserved: int
    revision: str | None
    newest_revision: str | None
    role_limit: int | None = None
    database_limit: int | None = None
    statement_ms: int | None = None
    system: int | None = None
    follows: bool = False
    pooled: bool = False

    @property
    def room(self) -> tuple[int, str, str]:
        """Connections that are ours, what bounds them, and how to raise it to so many, ``{}``."""
        bounds = [(self.max_connections - self.reserved, "the server has", "set max_connections = {more} in postgresql.conf")]
        if self.role_limit is not None:
            bounds.append((self.role_limit, "our role may open", "ALTER ROLE ... CONNECTION LIMIT {wanted}"))
        if self.database_limit is not None:
            bounds.append((self.database_limit, "our database takes", "ALTER DATABASE ... CONNECTION LIMIT {wanted}"))
        return min(bounds)


class RedisFacts(NamedTuple):
    """``run_id`` differs between any two servers; ``maxmemory`` is in bytes, 0 for none. A value is None when the server does not
    tell it."""

    run_id: str
    maxmemory_policy: str | None
    appendonly: str | None
    appendfsync: str | None
    maxmemory: int | None = None
    is_cluster_node: bool = False


class Facts(NamedTuple):
    """What each server answered; None: it was not asked."""

    database: DatabaseFacts | None = None
    broker: RedisFacts | None = None
    cache: RedisFacts | None = None
    replica: DatabaseFacts | None = None


def faults(config: Settings, facts: Facts, fleet: Fleet) -> list[Fault]:
    """Everything that is wrong; empty when nothing is."""
    return [
        *_ports(config),
        *_batches(config),
        *_time_outs(config),
        *_lanes(config, fleet),
        *_memory(config),
        *(_database(config, facts.database, fleet) if facts.database else ()),
        *(_replica(config, facts.replica, facts.database, fleet) if facts.replica else ()),
        *(_broker(facts.broker) if facts.broker else ()),
        *(_cache(config, facts.cache, facts.broker) if facts.cache else ()),
    ]


def connections(config: Settings, fleet: Fleet) -> int:
    """Database connections that the fleet may hold at once, overflow included."""
    of_workers = fleet.workers * config.worker_children * CHILD.connections
    return of_workers + fleet.ingresses * (config.database_pool + config.database_overflow) + CONNECTIONS_ASIDE


def _ports(config: Settings) -> Iterator[Fault]:
    ports = {"ingress_port": config.ingress_port, "exporter_port": config.exporter_port, "flower_port": config.flower_port}
    for name, port in ports.items():
        others = [other for other in ports if other < name and ports[other] == port]
        if others:
            yield _fault(name, f"{port} is {others[0]}'s too", "give each its own port")


def _batches(config: Settings) -> Iterator[Fault]:
    if config.prefetch_messages < config.batch_messages_max:
        yield _fault(
            "prefetch_messages",
            f"{config.prefetch_messages} is less than one batch of {config.batch_messages_max}, so no batch is ever full",
            f"set it to {2 * config.batch_messages_max}: one batch running and one waiting",
        )
    if config.publish_waiting_max < config.publish_messages_max:
        yield _fault(
            "publish_waiting_max",
            f"{config.publish_waiting_max} is less than one write of {config.publish_messages_max}",
            f"set it to {40 * config.publish_messages_max} or lower {PREFIX}PUBLISH_MESSAGES_MAX",
        )


def _time_outs(config: Settings) -> Iterator[Fault]:
    """Each must end before the one around it, or the outer one hides what the inner would have said."""
    batch, statement, lock = config.batch_timeout_seconds, config.database_statement_ms / 1000, config.database_lock_ms / 1000
    nested = (
        ("database_lock_ms", lock, "database_statement_ms", statement),
        ("database_statement_ms", statement, "batch_timeout_seconds", batch),
        ("database_connect_seconds", config.database_connect_seconds, "batch_timeout_seconds", batch),
        ("broker_timeout_seconds", config.broker_timeout_seconds, "lease_seconds", config.lease_seconds),
        ("publish_linger_ms", config.publish_linger_ms / 1000, "broker_timeout_seconds", config.broker_timeout_seconds),
    )
    for inner, inner_seconds, outer, outer_seconds in nested:
        if inner_seconds >= outer_seconds:
            yield _fault(
                inner,
                f"{inner_seconds:g} s is not less than {PREFIX}{outer.upper()}, {outer_seconds:g} s, which must outlast it",
                f"lower it, or raise {PREFIX}{outer.upper()}",
            )


def _memory(config: Settings) -> Iterator[Fault]:
    children, worker = config.worker_children * config.child_memory_mb, config.worker_memory_mb
    if children + PARENT_MB > worker:
        wanted = f"{config.worker_children} children of {config.child_memory_mb} MB and a parent of {PARENT_MB} may want"
        yield _fault(
            "worker_memory_mb",
            f"{wanted} {children + PARENT_MB} MB, the worker may have {worker}: it runs, but children go before their own limit",
            f"set it to {children + PARENT_MB}, or lower {PREFIX}CHILD_MEMORY_MB or {PREFIX}WORKER_CHILDREN",
        )._replace(serious=False)
    if config.child_growth_mb > config.child_memory_mb:
        yield _fault(
            "child_growth_mb",
            f"{config.child_growth_mb} MB is more than {PREFIX}CHILD_MEMORY_MB, {config.child_memory_mb}, so it has no effect",
            f"set it to {config.child_memory_mb // 2}",
        )._replace(serious=False)


def _lanes(config: Settings, fleet: Fleet) -> Iterator[Fault]:
    """A child without a lane idles; nothing is lost by it, so it is a warning."""
    useful = max(1, config.lanes // config.worker_children)
    asked = {"lanes": fleet.workers}
    if "autoscaler_workers_max" in config.model_fields_set:  # its default says nothing of a fleet without an autoscaler
        asked["autoscaler_workers_max"] = config.autoscaler_workers_max
    for setting, workers in asked.items():
        slots = workers * config.worker_children
        if slots > config.lanes:
            yield _fault(
                setting,
                f"{config.lanes} lanes for {slots} slots ({workers} workers of {config.worker_children} children): some idle",
                f"run {useful} workers at most, or have more lanes (docs/broker.md): {2 * slots} spread evenly",
            )._replace(serious=False)


def _database(config: Settings, database: DatabaseFacts, fleet: Fleet) -> Iterator[Fault]:
    yield from _room("database_pool", config, database, fleet)
    if database.follows:
        yield _fault("database_url", "the server is a replica, nothing can be stored there", "set it to the primary's URL")
    if database.pooled and not config.database_pgbouncer:
        yield _fault(
            "database_pgbouncer",
            "a pooler stands before the server: in transaction mode our limits and prepared statements would be somebody else's",
            f"set {PREFIX}DATABASE_PGBOUNCER=true; in session mode it costs a round trip a transaction",
        )
    elif database.statement_ms is not None and database.statement_ms != config.database_statement_ms:
        yield _fault(
            "database_url",
            f"our limits do not arrive: statement_timeout is {database.statement_ms} ms, not {config.database_statement_ms}",
            f"let `options` through to the server, or set {PREFIX}DATABASE_PGBOUNCER=true, which needs none",
        )
    if database.revision != database.newest_revision:
        yield _fault(
            "database_url",
            f"the schema is at revision {database.revision or 'none'}, this code knows {database.newest_revision}",
            "run `headrace db upgrade`; if the schema is the newer, upgrade headrace",
        )


def _replica(config: Settings, replica: DatabaseFacts, primary: DatabaseFacts | None, fleet: Fleet) -> Iterator[Fault]:
    if primary and None not in (primary.system, replica.system) and primary.system != replica.system:
        yield _fault("replica_url", "it is of another cluster than the primary: reads would show other data", "correct the URL")
    elif not replica.follows:
        yield _fault(
            "replica_url",
            "the server follows no primary, so no read goes there",
            "set it to a streaming replica's URL, or leave it empty",
        )
    yield from _room("replica_url", config, replica, fleet)


def _room(setting: str, config: Settings, database: DatabaseFacts, fleet: Fleet) -> Iterator[Fault]:
    if config.database_pgbouncer:
        return  # it shares its server connections out; how many clients it takes only its own console tells
    wanted, (room, who, how) = connections(config, fleet), database.room
    if wanted > room:
        yield _fault(
            setting,
            f"{fleet.workers} workers of {config.worker_children} children with {CHILD.connections} each, {fleet.ingresses}"
            f" ingresses of {config.database_pool} + {config.database_overflow} and {CONNECTIONS_ASIDE} aside want {wanted}"
            f" connections, {who} {room}",
            f"{how.format(more=wanted + database.reserved, wanted=wanted)}, lower {PREFIX}DATABASE_POOL or"
            f" {PREFIX}WORKER_CHILDREN, or put PgBouncer between",
        )


def _broker(broker: RedisFacts) -> Iterator[Fault]:
    wanted = {"maxmemory-policy": "noeviction", "appendonly": "yes", "appendfsync": "always"}
    found = {"maxmemory-policy": broker.maxmemory_policy, "appendonly": broker.appendonly, "appendfsync": broker.appendfsync}
    losses = {
        "maxmemory-policy": "a full broker throws messages away",
        "appendonly": "a restart of the broker loses every message",
        "appendfsync": "a power cut loses messages that were answered with 202",
    }
    for name, value in found.items():
        if value is not None and value != wanted[name]:
            fix = f"`CONFIG SET {name} {wanted[name]}` on the broker, and in its redis.conf"
            yield _fault("broker_url", f"{name} is {value}: {losses[name]}", fix)


def _cache(config: Settings, cache: RedisFacts, broker: RedisFacts | None) -> Iterator[Fault]:
    if broker and cache.run_id == broker.run_id:
        yield _fault(
            "cache_url",
            "broker and cache are one server: the one must never evict, the other must, and the cache crowds out messages",
            "run a second Redis for the cache",
        )
    elif cache.maxmemory_policy == "noeviction":
        fix = "`CONFIG SET maxmemory-policy allkeys-lfu` and a maxmemory on the cache, and in its redis.conf"
        yield _fault("cache_url", "maxmemory-policy is noeviction: a full cache refuses what is new", fix)
    elif cache.maxmemory == 0:
        fix = "`CONFIG SET maxmemory 64mb` or more on the cache, and in its redis.conf"
        yield _fault("cache_url", "maxmemory is 0: the cache grows until its machine has no memory", fix)
    if cache.is_cluster_node and not is_cluster(config.cache_url):
        fix = "write it as cluster://host:port, and some other nodes after a semicolon"
        yield _fault("cache_url", "it names a node of a Redis Cluster as if that were the whole", fix)


def _fault(setting: str, problem: str, fix: str) -> Fault:
    return Fault(PREFIX + setting.upper(), problem, fix)
