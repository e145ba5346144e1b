"""The two look-ups that every request needs, cached: what channel is that, whose API key is this.

Changes to accounts and channels say so in their own transactions (`shared.store.accounts`, `shared.store.channels`). They are
read from the primary: a replica that is behind would bring back, right after a change, what the change took away.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, NamedTuple

from shared.cache import kind
from shared.cache.change import account_tag
from shared.cache.tiered import Cache
from shared.cache.tiers import tiers
from shared.db.session import read_session
from shared.store import accounts, channels
from shared.store.channels import ChannelRecord


class Lookup(NamedTuple):
    """A cache and how it is filled.

    Args:
        cache: the process's.
        load_many: asks the database, one query; the values of those keys that have one.
    """

    cache: Cache[Any]
    load_many: Callable[[Sequence[str]], Mapping[str, Any]]


def channels_by_id() -> Cache[ChannelRecord]:
    """Channels by id, of enabled accounts."""
    return tiers().cache(kind.channels(), ChannelRecord, tags=_channels_tags)


def accounts_by_key() -> Cache[str]:
    """Ids of enabled accounts by `key_of` their API key."""
    return tiers().cache(kind.api_keys(), str, tags=_accounts_tags)


def key_of(api_key: str) -> str:
    """Under what an API key is cached: its hash, in hexadecimal."""
    return accounts.hash_of(api_key).hex()


def load_channels(ids: Sequence[str]) -> dict[str, ChannelRecord]:
    """The channels there are, of those ids."""
    with read_session(fresh=True) as session:
        return channels.find_many(session, ids)


def load_accounts(keys: Sequence[str]) -> dict[str, str]:
    """The accounts' ids of those keys that there are."""
    with read_session(fresh=True) as session:
        found = accounts.ids_of_keys(session, [bytes.fromhex(key) for key in keys])
    return {hashed.hex(): account_id for hashed, account_id in found.items()}


def lookups() -> list[Lookup]:
    """All of them, the one to warm first first."""
    return [Lookup(channels_by_id(), load_channels), Lookup(accounts_by_key(), load_accounts)]


def _channels_tags(channel: ChannelRecord) -> Iterable[str]:
    return (account_tag(channel.account_id),)


def _accounts_tags(account_id: str) -> Iterable[str]:
    return (account_tag(account_id),)
