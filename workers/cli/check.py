"""`headrace check`: every setting with its value, and what is wrong with them, before anything starts.

A server is asked when its URL is known. One that is not, because the embedded one has not been started yet, is no fault.
"""

from collections.abc import Callable
from typing import Any, TypeVar

import click
import redis
from sqlalchemy import text
from sqlalchemy.exc import SQLAlchemyError

from shared.cache.client import open_client
from shared.db.engine import create
from shared.db.migrate import revisions
from shared.errors import ConfigurationError
from shared.settings import PREFIX, Settings, masked, settings
from workers.cli.output import first_line, json_option, print_json
from workers.configuration import DatabaseFacts, Facts, Fault, Fleet, RedisFacts, connections, faults

T = TypeVar("T")

SECRETS = ("flower_password",)

# Servers before 16 know only the first two of the settings that reserve.
DATABASE = text("""
SELECT current_setting('max_connections')::int AS max_connections,
       current_setting('superuser_reserved_connections')::int
       + coalesce(current_setting('reserved_connections', true)::int, 0) AS reserved,
       (SELECT nullif(rolconnlimit, -1) FROM pg_roles WHERE rolname = current_user AND NOT rolsuper) AS role_limit,
       (SELECT nullif(datconnlimit, -1) FROM pg_database WHERE datname = current_database()) AS database_limit,
       (SELECT setting::int FROM pg_settings WHERE name = 'statement_timeout') AS statement_ms,
       (SELECT system_identifier FROM pg_control_system()) AS system,
       pg_is_in_recovery() AS follows, pg_backend_pid() AS pid
""")

STARTUP_REFUSED = "unsupported startup parameter"
"""What PgBouncer answers to limits that are set on connecting."""


@click.command()
@click.option("--workers", type=click.IntRange(1), default=1, show_default=True, help="Store workers of the whole fleet.")
@click.option("--ingresses", type=click.IntRange(0), default=1, show_default=True, help="Ingress processes of the whole fleet.")
@json_option
def check(workers: int, ingresses: int, as_json: bool) -> None:
    """Validate the configuration; name the fix. Exits 1 when there is a fault.

    Prints every setting with its value, secrets masked. Asks the servers whose URLs are known.
    """
    config = settings()
    facts, unreachable, unasked = _ask(config)
    fleet = Fleet(workers, ingresses)
    found = [*unreachable, *faults(config, facts, fleet)]
    faulty, warnings = [each for each in found if each.serious], [each for each in found if not each.serious]
    values = {PREFIX + name.upper(): _shown(name, getattr(config, name)) for name in Settings.model_fields}
    if as_json:
        print_json(
            {
                "ok": not faulty,
                "faults": [_as_dict(fault) for fault in faulty],
                "warnings": [_as_dict(fault) for fault in warnings],
                "not_asked": unasked,
                "connections": connections(config, fleet),
                "settings": values,
            }
        )
    else:
        _print(values, found, unasked)
        click.echo(f"the database's connections, at the most: {connections(config, fleet)}")
    raise click.exceptions.Exit(1 if faulty else 0)


def _as_dict(fault: Fault) -> dict[str, str]:
    return {"setting": fault.setting, "problem": fault.problem, "fix": fault.fix}


def _print(values: dict[str, Any], found: list[Fault], unasked: list[str]) -> None:
    width = max(map(len, values))
    for name, value in values.items():
        click.echo(f"{name:{width}}  {value if value != '' else '-'}")
    for name in unasked:
        click.echo(f"not asked: {name}, for it is empty and no embedded server is running")
    for fault in found:
        kind = "" if fault.serious else "warning: "
        click.echo(f"headrace: {kind}{fault.setting}: {fault.problem}; mend: {fault.fix}", err=True)
    if not any(fault.serious for fault in found):
        click.echo("the configuration is sound")


def _shown(name: str, value: Any) -> Any:
    if name in SECRETS:
        return "***" if value else ""
    if name.endswith("_url"):
        return masked(value)
    return value if isinstance(value, int | float) else str(value)


def _ask(config: Settings) -> tuple[Facts, list[Fault], list[str]]:
    """What the servers say, those that do not answer as faults, and the names of those that have no URL."""
    unreachable: list[Fault] = []
    unasked: list[str] = []

    def answer(name: str, ask: Callable[[Settings], T]) -> T | None:
        variable = PREFIX + name.upper()
        if not getattr(config, name):
            if name != "replica_url":  # which a fleet may do without
                unasked.append(variable)
            return None
        try:
            return ask(config)
        except (SQLAlchemyError, redis.RedisError, ConfigurationError, ValueError) as error:
            reason = first_line(getattr(error, "orig", None) or error)
            unreachable.append(Fault(variable, f"no answer: {reason}", _mend(reason)))
            return None

    facts = Facts(
        answer("database_url", lambda config: _ask_database(config, "primary")),
        answer("broker_url", lambda config: ask_redis(config.broker_url, config)),
        answer("cache_url", lambda config: ask_redis(config.cache_url, config)),
        answer("replica_url", lambda config: _ask_database(config, "replica")),
    )
    return facts, unreachable, unasked


def _mend(reason: str) -> str:
    if STARTUP_REFUSED in reason:
        return f"set {PREFIX}DATABASE_PGBOUNCER=true: this is PgBouncer, in transaction mode as it must be"
    return "start the server, or correct the URL"


def _ask_database(config: Settings, server: str) -> DatabaseFacts:
    asked = create(config, server)
    try:
        with asked.connect() as connection:
            told = dict(connection.execute(DATABASE).one()._mapping)
            opened: Any = connection.connection.driver_connection
            pooled = told.pop("pid") != opened.info.backend_pid
            current, newest = revisions(connection)
        return DatabaseFacts(**told, pooled=pooled, revision=current, newest_revision=newest)
    finally:
        asked.dispose()


def ask_redis(url: str, config: Settings) -> RedisFacts:
    """What a Redis tells of its configuration; of a Cluster its first node: they are alike. Raises redis.RedisError."""
    master = config.cache_master if url == config.cache_url else config.broker_master
    with open_client(url, timeout=config.broker_timeout_seconds, master=master) as server:
        told: Any = server.info()
        info = told if "run_id" in told else next(iter(told.values()))
        is_node = info.get("redis_mode") == "cluster"
        log, sync = (None, None) if is_node else (_option(server, "appendonly"), _option(server, "appendfsync"))
        return RedisFacts(str(info["run_id"]), info.get("maxmemory_policy"), log, sync, info.get("maxmemory"), is_node)


def _option(server: Any, name: str) -> str | None:
    try:
        found: Any = server.config_get(name)
    except redis.ResponseError:  # managed servers hide it
        return None
    return next((value.decode() if isinstance(value, bytes) else str(value) for value in found.values()), None)
