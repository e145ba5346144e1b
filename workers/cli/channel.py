"""`headrace channel`: an account's connections to webhook sources. A secret is shown when it is made, never in a list."""

from typing import Any

import click

from shared.db.session import WriteSession, read_session, transact
from shared.settings import settings
from shared.store import accounts, channels
from workers.cli.family import Family
from workers.cli.output import json_option, print_record, print_records


@click.group(cls=Family)
def channel() -> None:
    """Connect an account to a webhook source."""


@channel.command()
@click.argument("account")
@click.option("--source", required=True, type=click.Choice(channels.SOURCES), help="The provider's kind.")
@click.option("--secret", help="The provider's signing secret; generated when left out.")
@json_option
def add(account: str, source: str, secret: str | None, as_json: bool) -> None:
    """Connect ACCOUNT, a name or an id. Prints the URL and the secret to give to the provider."""

    def work(session: WriteSession) -> channels.NewChannel:
        return channels.add(session, accounts.named(session, account).id, source, secret)

    print_record(_with_secret(*transact(work)), as_json=as_json)


@channel.command("list")
@click.argument("account", required=False)
@json_option
def list_(account: str | None, as_json: bool) -> None:
    """All channels, or those of ACCOUNT, without their secrets."""
    with read_session() as session:
        account_id = accounts.named(session, account).id if account else None
        rows = channels.every(session, account_id)
    records = [{"id": row[0], "account": row[1], "source": row[2], "created_at": row[3], "url": url(row[0])} for row in rows]
    print_records(records, ("id", "account", "source", "created_at", "url"), as_json=as_json)


@channel.command()
@click.argument("channel")
def remove(channel: str) -> None:
    """Refuse the channel's webhooks from now on. The messages that came by it stay."""
    transact(lambda session: channels.remove(session, channel))
    click.echo(f"removed {channel}")


@channel.command()
@click.argument("channel")
@json_option
def rotate(channel: str, as_json: bool) -> None:
    """Make a new secret. Prints it; the old one is accepted for 24 hours more."""
    secret = transact(lambda session: channels.rotate(session, channel))
    print_record(_with_secret(channel, secret), as_json=as_json)


def url(channel_id: str) -> str:
    """Where the provider posts to, as seen from this machine."""
    config = settings()
    host = "127.0.0.1" if config.ingress_host in {"0.0.0.0", "::"} else config.ingress_host  # noqa: S104 - compared, not bound
    return f"http://{host}:{config.ingress_port}/v1/webhooks/{channel_id}"


def _with_secret(channel_id: str, secret: str) -> dict[str, Any]:
    return {"id": channel_id, "url": url(channel_id), "secret": secret}
