"""`headrace db`: the database's schema."""

import click

from shared.db import migrate


@click.group()
def db() -> None:
    """Migrate the database."""


@db.command()
def upgrade() -> None:
    """Bring the schema to the newest revision. Safe to repeat, and from several machines at once."""
    click.echo(f"the database is at revision {migrate.upgrade()}")
