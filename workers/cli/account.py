"""`headrace account`: tenants and their API keys. Every verb takes an account's name or its id."""

import sys
from collections.abc import Callable
from functools import partial

import click

from shared.db.session import WriteSession, read_session, transact
from shared.store import accounts
from workers.cli.family import Family
from workers.cli.output import confirm, json_option, print_record, print_records


@click.group(cls=Family)
def account() -> None:
    """Create, list, disable and delete accounts."""


@account.command()
@click.argument("name")
@json_option
def create(name: str, as_json: bool) -> None:
    """Make an account. Prints its id and its API key, which is not shown again."""
    made = transact(lambda session: accounts.create(session, name))
    print_record({"id": made.id, "api_key": made.api_key}, as_json=as_json)


@account.command("list")
@json_option
def list_(as_json: bool) -> None:
    """All accounts, the oldest first."""
    with read_session() as session:
        records = [record._asdict() for record in accounts.every(session)]
    print_records(records, ("id", "name", "created_at", "disabled_at"), as_json=as_json)


@account.command()
@click.argument("account")
def disable(account: str) -> None:
    """Refuse an account's requests from now on. What is queued is still stored."""
    click.echo(f"disabled {_changed(account, accounts.disable)}")


@account.command()
@click.argument("account")
def enable(account: str) -> None:
    """Accept a disabled account's requests again."""
    click.echo(f"enabled {_changed(account, accounts.enable)}")


@account.command("rotate-key")
@click.argument("account")
@json_option
def rotate_key(account: str, as_json: bool) -> None:
    """Replace an account's API key. Prints the new one; the old one ends at once."""

    def rotate(session: WriteSession) -> dict[str, str]:
        account_id = accounts.named(session, account).id
        return {"id": account_id, "api_key": accounts.rotate_key(session, account_id)}

    print_record(transact(rotate), as_json=as_json)


@account.command()
@click.argument("account")
@click.option("--yes", is_flag=True, help="Do not ask.")
def delete(account: str, yes: bool) -> None:
    """Remove an account and all its data.

    That is its channels, contacts, conversations, messages and dead letters. It is disabled first. Messages of it that are
    still queued become dead letters of an unknown account. When the command is interrupted, run it again: it goes on where it
    stopped.
    """
    with read_session() as session:
        record = accounts.named(session, account)
    confirm(f"Delete account {record.name!r} ({record.id}) and all its data?", yes=yes)
    removed = 0
    while step := transact(partial(accounts.delete, account_id=record.id)):
        removed += step
        if sys.stderr.isatty():
            click.echo(f"\r{removed:,} rows removed ", nl=False, err=True)
    click.echo(f"deleted {record.id}")


def _changed(account: str, change: Callable[[WriteSession, str], None]) -> str:
    """Apply ``change`` to the account of this name or id; its id."""

    def work(session: WriteSession) -> str:
        account_id = accounts.named(session, account).id
        change(session, account_id)
        return account_id

    return transact(work)
