"""The message contract: what a producer sends, decoded and validated once, at the edge or in the child that stores it.

Limits are part of the contract and stand in CONTRACT terms beside each field. Decoding is msgspec's: strict JSON (no NaN,
no lone surrogate), the last of duplicate keys wins. U+0000 is refused because PostgreSQL's text cannot hold it.
"""

import re
from datetime import UTC, datetime
from typing import Annotated, Any, TypeVar

import msgspec
from msgspec import Meta, Struct

from shared.errors import InvalidMessage

T = TypeVar("T")

TEXT_BYTES_MAX = 64 * 1024
METADATA_BYTES_MAX = 8 * 1024
MESSAGES_A_REQUEST_MAX = 1_000

Key = Annotated[str, Meta(min_length=1, max_length=255)]
Instant = Annotated[datetime, Meta(tz=True)]

_MISSING = re.compile(r"Object missing required field `(.+)`")
_NUL_ESCAPE = re.compile(r"(?<!\\)(?:\\\\)*\\u0000")
_EARLIEST = datetime(1970, 1, 1, tzinfo=UTC)
_LATEST = datetime(9999, 1, 1, tzinfo=UTC)


class Author(Struct, frozen=True):
    """Who wrote the message. ``id`` is unique within the account."""

    id: Key
    name: Annotated[str, Meta(max_length=255)] | None = None


class Message(Struct, frozen=True):
    """One normalised utterance, as producers send it. ``message_id`` is the idempotency key within the account."""

    message_id: Key
    conversation_id: Key
    author: Author
    text: Annotated[str, Meta(max_length=TEXT_BYTES_MAX)]
    sent_at: Instant
    metadata: dict[str, Any] = {}


class QueuedMessage(Message, frozen=True, kw_only=True):
    """A message with its account, as it stands in a queue."""

    account_id: Annotated[str, Meta(min_length=1, max_length=64)]


def decode_message(raw: bytes | msgspec.Raw) -> Message:
    """One message from its JSON. Raises InvalidMessage, which names the field."""
    return validated(decode(raw, Message))


def decode_queued(raw: bytes | msgspec.Raw) -> QueuedMessage:
    """One message with its ``account_id`` from its JSON. Raises InvalidMessage."""
    message = decode(raw, QueuedMessage)
    validated(message)
    return message


def decode(raw: bytes | msgspec.Raw, into: type[T]) -> T:
    """JSON into ``into``; any fault becomes an InvalidMessage that names the field and shows no content."""
    try:
        return msgspec.json.decode(raw, type=into)
    except msgspec.ValidationError as error:
        reason, _, path = str(error).partition(" - at `$")
        field = path.rstrip("`").lstrip(".")
        if missing := _MISSING.fullmatch(reason):
            raise InvalidMessage("required field is missing", f"{field}.{missing[1]}".lstrip(".")) from None
        raise InvalidMessage(reason, field) from None
    except RecursionError:
        raise InvalidMessage("nested too deeply") from None
    except (msgspec.DecodeError, UnicodeDecodeError):
        raise InvalidMessage("not valid JSON in UTF-8") from None


def validated(message: Message) -> Message:
    """What types cannot say: sizes in bytes, U+0000, a sane year. Returns the message or raises InvalidMessage."""
    for field, value in (
        ("message_id", message.message_id),
        ("conversation_id", message.conversation_id),
        ("author.id", message.author.id),
        ("author.name", message.author.name or ""),
        ("text", message.text),
    ):
        if "\0" in value:
            raise InvalidMessage("U+0000 cannot be stored", field)
    if len(message.text) * 4 > TEXT_BYTES_MAX and len(message.text.encode()) > TEXT_BYTES_MAX:
        raise InvalidMessage(f"longer than {TEXT_BYTES_MAX} bytes in UTF-8", "text")
    if message.metadata:
        encoded = encode_metadata(message)
        if len(encoded) > METADATA_BYTES_MAX:
            raise InvalidMessage(f"longer than {METADATA_BYTES_MAX} bytes as JSON", "metadata")
        if _NUL_ESCAPE.search(encoded):
            raise InvalidMessage("U+0000 cannot be stored", "metadata")
    if not _EARLIEST <= message.sent_at < _LATEST:
        raise InvalidMessage("outside the years 1970 to 9998", "sent_at")
    return message


def encode_metadata(message: Message) -> str:
    """The metadata as compact JSON text."""
    return msgspec.json.encode(message.metadata).decode()


def encode_queued(account_id: str, message: Message) -> bytes:
    """The JSON that `decode_queued` reads."""
    return msgspec.json.encode(
        QueuedMessage(
            message.message_id,
            message.conversation_id,
            message.author,
            message.text,
            message.sent_at,
            message.metadata,
            account_id=account_id,
        )
    )
