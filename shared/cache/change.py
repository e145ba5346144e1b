"""A change: what of the cache is no longer true. It is told to Redis and to every process, after the commit that made it so.

A store function says so in the transaction it is called in::

    change.after_commit(session, Change(tags=(account_tag(account_id),)))

The message goes out when the transaction is committed, and never when it is rolled back. A process that dies between the two
leaves the old value to end by its time (`shared.cache.kind`).
"""

from typing import Any

import msgspec
from msgspec import Struct
from sqlalchemy import event
from sqlalchemy.orm import Session

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


def after_commit(session: Session, change: Change) -> None:
    """Make ``change`` known once ``session``'s transaction is committed."""
    pending: list[Change] = session.info.setdefault(_PENDING, [])
    if not pending:
        event.listen(session, "after_commit", _tell)
        event.listen(session, "after_soft_rollback", _forget)
    pending.append(change)


def _tell(session: Session) -> None:
    from shared.cache.tiers import tiers  # noqa: PLC0415 - a process that changes nothing needs no client of the cache

    if changes := session.info.pop(_PENDING, None):
        tiers().tell(changes)


def _forget(session: Session, _previous: Any) -> None:
    session.info.pop(_PENDING, None)
