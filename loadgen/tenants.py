"""A run's own accounts, each with a channel, so that what it stored is told apart, counted and removed as a whole."""

from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from shared.db.session import transact, write_session
from shared.store import accounts, channels

ACCOUNTS_MAX = 1_000


class Tenant(NamedTuple):
    """An account and what its senders need."""

    account_id: str
    api_key: str
    channel_id: str
    secret: str


def create(run: str, count: int) -> list[Tenant]:
    """``count`` accounts, 1 to ACCOUNTS_MAX, called ``<run>-0`` and so on, each with a channel of source `standard`."""
    tenants = []
    with write_session() as session:
        for number in range(count):
            account = accounts.create(session, f"{run}-{number}")
            channel = channels.add(session, account.id, "standard")
            tenants.append(Tenant(account.id, account.api_key, channel.id, channel.secret))
    return tenants


def remove(tenants: Sequence[Tenant]) -> None:
    """Delete the accounts and everything of them, step by step as `accounts.delete` goes."""
    for tenant in tenants:
        while transact(partial(accounts.delete, account_id=tenant.account_id)):
            pass
