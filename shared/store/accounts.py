"""Accounts: tenants and their API keys. A key is shown once; only its SHA-256 is kept."""

import hashlib
import secrets
from collections.abc import Sequence
from datetime import datetime
from functools import lru_cache
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete as sql_delete
from sqlalchemy import func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from uuid_utils import uuid7

from shared.cache.change import Change, account_tag, after_commit, by_key
from shared.cache.kind import API_KEYS, CHANNELS
from shared.db.models import Account, Channel, Contact, Conversation, DeadLetterRow, MessageRow
from shared.db.queries import define, tagged
from shared.db.session import ReadSession, WriteSession
from shared.errors import HeadraceError, NotFound

NAME_LENGTH_MAX = 100

DELETED_AT_ONCE = 2_000
"""Rows removed in one transaction: some 50 ms of work, far below every time-out."""


ID_OF_KEY = define(
    "accounts.id_of_key",
    text("""
SELECT api_key_hash, id::text FROM accounts WHERE api_key_hash = ANY(CAST(:api_key_hashes AS bytea[])) AND disabled_at IS NULL
"""),
)

CREATE = define("accounts.create", insert(Account).on_conflict_do_nothing().returning(Account.id))
UPDATE = define("accounts.update", update(Account))
LIST = define("accounts.list", select(Account.id, Account.name, Account.created_at, Account.disabled_at))
CHANNELS_OF = define("accounts.channels", select(Channel.id))
DELETE = define("accounts.delete", sql_delete(Account).returning(Account.id))


class NewAccount(NamedTuple):
    """A fresh account; the only time that its key is known."""

    id: str
    api_key: str


class AccountRecord(NamedTuple):
    """An account as an operator sees it."""

    id: str
    name: str
    created_at: datetime
    disabled_at: datetime | None


class AlreadyExists(HeadraceError):
    """The name is taken. Choose another, or use the one there is."""


def hash_of(api_key: str) -> bytes:
    """What is stored and compared in a key's stead."""
    return hashlib.sha256(api_key.encode()).digest()


def create(session: WriteSession, name: str) -> NewAccount:
    """A new account called ``name``, 1 to 100 characters. Raises AlreadyExists."""
    if not name.strip() or len(name) > NAME_LENGTH_MAX or "\0" in name:
        raise HeadraceError(f"an account's name has 1 to {NAME_LENGTH_MAX} characters")
    account_id, api_key = UUID(str(uuid7())), _new_key()
    values = {"id": account_id, "name": name, "api_key_hash": hash_of(api_key)}
    if session.execute(CREATE.values(values)).first() is None:
        raise AlreadyExists(f"there is an account {name!r} already; `headrace account list` shows it")
    return NewAccount(str(account_id), api_key)


def rotate_key(session: WriteSession, account_id: str) -> str:
    """Replace the key; the old one ends at once."""
    api_key = _new_key()
    after_commit(session, Change(tags=(account_tag(account_id),)))
    session.execute(UPDATE.where(Account.id == UUID(account_id)).values(api_key_hash=hash_of(api_key)))
    return api_key


def disable(session: WriteSession, account_id: str) -> None:
    """Refuse the account at the edge from now on; what is queued is still stored."""
    after_commit(session, Change(tags=(account_tag(account_id),)))
    statement = UPDATE.where(Account.id == UUID(account_id), Account.disabled_at.is_(None))
    session.execute(statement.values(disabled_at=func.now()))


def enable(session: WriteSession, account_id: str) -> None:
    """Accept the account at the edge again."""
    account = Account.id == UUID(account_id)
    hashed = session.execute(UPDATE.where(account).values(disabled_at=None).returning(Account.api_key_hash)).scalar()
    ids = session.execute(CHANNELS_OF.where(Channel.account_id == UUID(account_id))).scalars()
    # What is known not to exist has no tags, so these go by their keys.
    for change in by_key(CHANNELS, list(map(str, ids))):
        after_commit(session, change)
    if hashed:
        after_commit(session, Change(API_KEYS, keys=(hashed.hex(),)))


def delete(session: WriteSession, account_id: str, *, rows: int = DELETED_AT_ONCE) -> int:
    """Remove up to ``rows`` rows of the account, and the account itself when none are left.

    Returns how many rows went: call it, a transaction each, until it returns 0. One statement over a large account would run
    into `database_statement_ms` and hold its locks all that time. The first call disables the account.

    Safe while batches store for the account: the parts go in the order in which a batch would miss them (conversations
    before contacts, each sorted as a batch locks them), what arrives meanwhile goes in a later call or with the account, and
    a batch after that finds no account. Two deletions of one account take turns at its row.
    """
    after_commit(session, Change(tags=(account_tag(account_id),)))
    disabled = {"disabled_at": func.coalesce(Account.disabled_at, func.now())}
    session.execute(UPDATE.where(Account.id == UUID(account_id)).values(disabled))
    for part, owner, order in (
        (MessageRow, MessageRow.account_id == UUID(account_id), MessageRow.message_id),
        (Conversation, Conversation.account_id == UUID(account_id), Conversation.id),
        (Contact, Contact.account_id == UUID(account_id), Contact.external_id),
        (DeadLetterRow, DeadLetterRow.account_id == account_id, DeadLetterRow.id),
    ):
        chosen = select(part.id).where(owner).order_by(order).limit(rows).with_for_update()
        statement = tagged("accounts.delete_rows", sql_delete(part).where(part.id.in_(chosen)).returning(part.id))
        if gone := session.execute(statement).all():
            return len(gone)
    return len(session.execute(DELETE.where(Account.id == UUID(account_id))).all())


def every(session: ReadSession) -> list[AccountRecord]:
    """All accounts, oldest first."""
    rows = session.execute(LIST.order_by(Account.id))
    return [AccountRecord(str(row.id), row.name, row.created_at, row.disabled_at) for row in rows]


def named(session: ReadSession | WriteSession, name_or_id: str) -> AccountRecord:
    """The account with this id or this name. Raises NotFound."""
    row = session.execute(LIST.where(Account.name == name_or_id)).first()
    if row is None and (account_id := uuid_or_none(name_or_id)):
        row = session.execute(LIST.where(Account.id == account_id)).first()
    if row is None:
        raise NotFound(f"no account {name_or_id!r}; `headrace account list` shows them")
    return AccountRecord(str(row.id), row.name, row.created_at, row.disabled_at)


def id_of_key(session: ReadSession, api_key_hash: bytes) -> str | None:
    """The id of the enabled account with this key's hash."""
    return ids_of_keys(session, [api_key_hash]).get(api_key_hash)


def ids_of_keys(session: ReadSession, api_key_hashes: Sequence[bytes]) -> dict[bytes, str]:
    """The ids of those enabled accounts that there are, by their keys' hashes."""
    rows = session.execute(ID_OF_KEY, {"api_key_hashes": list(api_key_hashes)})
    return {bytes(row[0]): row[1] for row in rows}


@lru_cache(maxsize=4096)  # a batch asks for each account, and the same ones come again
def uuid_or_none(it: str) -> UUID | None:
    """``it`` as a UUID if it is one in its canonical form, the form in which ids are handed out."""
    try:
        value = UUID(it)
    except ValueError:
        return None
    return value if str(value) == it else None


def _new_key() -> str:
    return "hr_" + secrets.token_urlsafe(32)
