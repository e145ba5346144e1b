"""`headrace db`: the schema, the plans of its statements, and what the server says of its tables."""

from importlib import import_module
from pkgutil import iter_modules
from typing import Any

import click

from shared import store
from shared.db import explain as plans
from shared.db import migrate, queries, report
from shared.db.engine import engine
from workers.cli.family import Family
from workers.cli.output import json_option, print_json, print_records


@click.group(cls=Family)
def db() -> None:
    """Migrate the database; show plans, sizes and what is slow."""


@db.command()
@click.option("--quiet", is_flag=True, help="Say nothing but the revision.")
def upgrade(quiet: bool) -> None:
    """Bring the schema to the newest revision. Safe to repeat, and from several machines at once.

    Indexes are built while the fleet goes on. A build that was killed is begun anew by the next upgrade.
    """
    say = None if quiet else lambda line: click.echo(line, err=True)
    click.echo(f"the database is at revision {migrate.upgrade(say)}")


@db.command("explain")
@click.argument("name", required=False)
@json_option
def explain_(name: str | None, as_json: bool) -> None:
    """Show the plan of the statement NAME, for any values, without running it. Without NAME: list the names."""
    for module in iter_modules(store.__path__):
        import_module(f"{store.__name__}.{module.name}")  # naming its statements
    if name is None:
        names = [{"name": each} for each in queries.names()]
        print_records(names, ("name",), as_json=as_json)
        return
    sql = plans.sql_of(name)
    with engine().connect() as connection:
        plan = plans.plan_of(connection.connection.driver_connection, name)  # type: ignore[arg-type]
    if as_json:
        print_json({"name": name, "sql": sql, "plan": plan})
    else:
        click.echo("\n".join([sql, "", *plan]))


@db.command("report")
@json_option
def report_(as_json: bool) -> None:
    """Slow statements, unused, missing and invalid indexes, sizes, dead rows, age of the statistics.

    Counters are the server's own, since `counted_since`: an index that seems unused may serve a monthly job or a replica.
    """
    with engine().connect() as connection:
        found = report.report(connection)
    if as_json:
        print_json(found)
        return
    server = found["server"]
    since = server["counted_since"] or "its first start"
    click.echo(f"PostgreSQL {server['version']}, database {server['database_size']}, counted since {since}")
    if found["statements"] is None:
        click.echo(f"\n{found['statements_missing']}")
    else:
        _section("statements, by total time", found["statements"])
    _section("unused indexes", found["unused_indexes"], ("table", "name", "bytes"))
    _section("missing indexes", found["missing_indexes"])
    _section("invalid indexes (`headrace db upgrade` builds ours anew)", found["invalid_indexes"], ("table", "name", "bytes"))
    _section("tables", found["tables"])
    _section("indexes", found["indexes"])


def _section(title: str, records: list[dict[str, Any]], columns: tuple[str, ...] = ()) -> None:
    click.echo(f"\n{title}{'' if records else ': none'}")
    if records:
        print_records(records, columns or tuple(records[0]), as_json=False)
