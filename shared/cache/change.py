"""A change: what of the cache is no longer true. It is told to Redis and to every process, after the commit that made it so.

A store function says so in the transaction it is called in::

    change.after_commit(session, Change(tags=(account_tag(account_id),)))

The message goes out when the transaction is committed, and never when it is rolled back. A process that dies between the two
leaves the old value to end by its time (`shared.cache.kind`).
"""

import logging
from collections.abc import Iterator, Sequence

import msgspec
from msgspec import Struct
from sqlalchemy import event
from sqlalchemy.orm import Session, SessionTransaction

from shared.errors import ConfigurationError

# The standard library's logger: a command line, which configures none, shows warnings on stderr.
log = logging.getLogger(__name__)

KEYS_MAX = 500
"""In one change: some milliseconds of Redis, and a message of some 20 KB."""

_PENDING = "headrace_cache_changes"


class Change(Struct, frozen=True, omit_defaults=True):
    """What to forget.

    Args:
        kind: the kind's name; empty for all of them.
        keys: of that kind.
        tags: of any kind.
        everything: of the kind, or of all.
    """

    kind: str = ""
    keys: tuple[str, ...] = ()
    tags: tuple[str, ...] = ()
    everything: bool = False

    def encode(self) -> bytes:
        """As it goes over the channel."""
        return msgspec.json.encode(self)


def decode(raw: bytes) -> Change | None:
    """A change from the channel; None for what this version does not understand."""
    try:
        return msgspec.json.decode(raw, type=Change)
    except msgspec.MsgspecError:
        return None


def account_tag(account_id: str) -> str:
    """The tag of all that belongs to an account."""
    return f"account:{account_id}"


def by_key(kind: str, keys: Sequence[str]) -> Iterator[Change]:
    """Changes of so many keys of one kind."""
    return (Change(kind, keys=tuple(keys[start : start + KEYS_MAX])) for start in range(0, len(keys), KEYS_MAX))


def after_commit(session: Session, change: Change) -> None:
    """Make ``change`` known once ``session``'s transaction is committed."""
    pending: list[Change] = session.info.setdefault(_PENDING, [])
    if not pending:
        event.listen(session, "after_commit", _tell)
        event.listen(session, "after_soft_rollback", _forget)
    pending.append(change)


def _tell(session: Session) -> None:
    if session.in_nested_transaction():
        return  # a savepoint was released: nobody else sees anything of it yet
    from shared.cache.tiers import tiers  # noqa: PLC0415 - a process that changes nothing needs no client of the cache

    changes = session.info.pop(_PENDING, None)
    if not changes:
        return
    try:
        tiers().tell(changes)
    except ConfigurationError as error:  # the change is committed: that nobody could be told must not look as if it were not
        log.warning("the cache was not told of a change: %s", error)


def _forget(session: Session, previous: SessionTransaction) -> None:
    if previous.nested:
        return  # back to a savepoint; a change told in vain costs a load, one that is not told an old value
    session.info.pop(_PENDING, None)
