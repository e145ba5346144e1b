"""Channels: an account's connections to webhook sources, with the secrets that their signatures are checked against."""

import base64
import secrets
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import NamedTuple
from uuid import UUID

from sqlalchemy import delete, func, select, text, update
from sqlalchemy.dialects.postgresql import insert
from uuid_utils import uuid7

from shared.cache.change import Change, after_commit
from shared.cache.kind import CHANNELS
from shared.db.models import Account, Channel
from shared.db.queries import define
from shared.db.session import ReadSession, WriteSession
from shared.errors import HeadraceError, NotFound
from shared.store.accounts import uuid_or_none

SOURCES = ("standard", "github")
OLD_SECRET_LIVES = timedelta(hours=24)
STANDARD_PREFIX = "whsec_"

FIND = define(
    "channels.find",
    text("""
SELECT c.id::text, c.account_id::text, c.source, c.secret,
       CASE WHEN c.previous_secret_expires_at > now() THEN c.previous_secret END
FROM channels c JOIN accounts a ON a.id = c.account_id
WHERE c.id = ANY(CAST(:channels AS uuid[])) AND a.disabled_at IS NULL
"""),
)

ADD = define("channels.add", insert(Channel))
SOURCE = define("channels.source", select(Channel.source))
ROTATE = define("channels.rotate", update(Channel))
REMOVE = define("channels.remove", delete(Channel).returning(Channel.id))
LIST = define("channels.list", select(Channel.id, Account.name, Channel.source, Channel.created_at).join(Account))


class NewChannel(NamedTuple):
    """A fresh channel and the secret to give to the provider."""

    id: str
    secret: str


class ChannelRecord(NamedTuple):
    """A channel as the edge needs it: ``secrets`` are those accepted now, the current one first."""

    id: str
    account_id: str
    source: str
    secrets: tuple[str, ...]


def add(session: WriteSession, account_id: str, source: str, secret: str | None = None) -> NewChannel:
    """A channel of ``source`` with ``secret``, or with a generated one. Raises HeadraceError for a bad secret or source."""
    if source not in SOURCES:
        raise HeadraceError(f"no source {source!r}; there are: {', '.join(SOURCES)}")
    secret = _checked(source, secret) if secret else new_secret(source)
    channel_id = UUID(str(uuid7()))
    session.execute(ADD.values(id=channel_id, account_id=UUID(account_id), source=source, secret=secret))
    return NewChannel(str(channel_id), secret)


def rotate(session: WriteSession, channel_id: str) -> str:
    """A new secret; the old one is accepted for 24 hours more. Raises NotFound."""
    found = session.execute(SOURCE.where(Channel.id == uuid_or_none(channel_id))).scalar_one_or_none()
    if found is None:
        raise NotFound(f"no channel {channel_id!r}; `headrace channel list` shows them")
    secret = new_secret(found)
    changes = {
        "previous_secret": Channel.secret,
        "secret": secret,
        "previous_secret_expires_at": func.now() + OLD_SECRET_LIVES,
    }
    after_commit(session, Change(CHANNELS, keys=(channel_id,)))
    session.execute(ROTATE.where(Channel.id == UUID(channel_id)).values(changes))
    return secret


def remove(session: WriteSession, channel_id: str) -> None:
    """Forget the channel; its messages stay. Raises NotFound."""
    after_commit(session, Change(CHANNELS, keys=(channel_id,)))
    gone = session.execute(REMOVE.where(Channel.id == uuid_or_none(channel_id))).first()
    if gone is None:
        raise NotFound(f"no channel {channel_id!r}; `headrace channel list` shows them")


def every(session: ReadSession, account_id: str | None = None) -> list[tuple[str, str, str, datetime]]:
    """(id, account's name, source, created) of all channels or of one account's."""
    statement = LIST.order_by(Channel.id)
    if account_id:
        statement = statement.where(Channel.account_id == UUID(account_id))
    return [(str(row[0]), row[1], row[2], row[3]) for row in session.execute(statement)]


def find(session: ReadSession, channel_id: str) -> ChannelRecord | None:
    """The channel, if there is one and its account is enabled."""
    return find_many(session, [channel_id]).get(channel_id)


def find_many(session: ReadSession, channel_ids: Sequence[str]) -> dict[str, ChannelRecord]:
    """Those of the channels that there are and whose accounts are enabled, by id."""
    known = [each for each in map(uuid_or_none, channel_ids) if each]
    rows = session.execute(FIND, {"channels": known})
    return {row[0]: ChannelRecord(row[0], row[1], row[2], tuple(filter(None, row[3:]))) for row in rows}


def new_secret(source: str) -> str:
    """A generated secret of 256 bits, in the form the source's users know."""
    if source == "standard":
        return STANDARD_PREFIX + base64.b64encode(secrets.token_bytes(32)).decode()
    return secrets.token_hex(32)


def _checked(source: str, secret: str) -> str:
    if source == "standard":
        try:
            key = base64.b64decode(secret.removeprefix(STANDARD_PREFIX), validate=True)
        except ValueError:
            key = b""
        if not 16 <= len(key) <= 256:
            raise HeadraceError("a standard secret is whsec_ and 16 to 256 bytes in base64; leave --secret out to get one")
    elif not 8 <= len(secret) <= 256 or "\0" in secret:
        raise HeadraceError("a secret has 8 to 256 characters; leave --secret out to get one")
    return secret
