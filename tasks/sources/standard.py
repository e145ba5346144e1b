"""Standard Webhooks (standardwebhooks.com), for senders without a dialect of their own: one event, one message.

``webhook-signature`` holds one or more ``v1,<base64>``, HMAC-SHA256 over ``<webhook-id>.<webhook-timestamp>.<body>`` keyed
with what stands in base64 after ``whsec_``. The message is checked whole at the edge: its sender speaks our contract and
can mend a 400, which a dead letter would hide from it.
"""

import base64
import hmac
from collections.abc import Sequence

import msgspec
from msgspec import Struct

from shared.errors import InvalidMessage, InvalidSignature
from shared.message import Message, decode, decode_message
from tasks.sources.source import Headers, Peek, Source

MESSAGE_CREATED = "message.created"

WINDOW_SECONDS = 300
"""How far the signed time stamp may be off, either way: bounds replays, forgives clocks. The specification's own value."""

SIGNATURES_MAX = 16
"""Signatures looked at: a sender that rotates secrets sends two; a header full of them must not cost a second."""

SECRET_PREFIX = "whsec_"  # noqa: S105 - the specification's prefix


class Event(Struct):
    """The body. ``timestamp`` is the event's own and is not read."""

    type: str
    data: msgspec.Raw = msgspec.Raw()


def verify(headers: Headers, body: bytes, secrets: Sequence[str], now: float) -> None:
    """Raises InvalidSignature unless one of the signatures fits one of the secrets and the time stamp is within the window."""
    webhook_id = headers.get("webhook-id", "")
    timestamp = headers.get("webhook-timestamp", "")
    signatures = headers.get("webhook-signature", "")
    if not webhook_id or not timestamp or not signatures:
        raise InvalidSignature("webhook-id, webhook-timestamp and webhook-signature are required")
    if not (timestamp.isascii() and timestamp.isdecimal() and len(timestamp) <= 12):
        raise InvalidSignature("webhook-timestamp is not in whole seconds since 1970")
    if abs(now - int(timestamp)) > WINDOW_SECONDS:
        raise InvalidSignature(f"webhook-timestamp is more than {WINDOW_SECONDS} seconds off")
    signed = b"%b.%b.%b" % (webhook_id.encode("latin-1", "replace"), timestamp.encode(), body)
    given = [signature.encode("latin-1", "replace") for signature in signatures.split(" ", SIGNATURES_MAX)[:SIGNATURES_MAX]]
    for secret in secrets:
        expected = b"v1," + base64.b64encode(hmac.digest(_key(secret), signed, "sha256"))
        for signature in given:
            if hmac.compare_digest(expected, signature):
                return
    raise InvalidSignature("no signature fits")


def peek(_headers: Headers, body: bytes) -> Peek:
    """The event and its conversation. Raises InvalidMessage, which names the field at fault from the body's top."""
    event = decode(body, Event)
    message = _message(event)
    return Peek(event.type, message.conversation_id if message else "", message is not None)


def parse(_event: str, body: bytes) -> Message | None:
    """The message of a ``message.created``; None for every other type. Raises InvalidMessage."""
    return _message(decode(body, Event))


def _message(event: Event) -> Message | None:
    if event.type != MESSAGE_CREATED:
        return None
    if not bytes(event.data):
        raise InvalidMessage("required field is missing", "data")
    try:
        return decode_message(event.data)
    except InvalidMessage as error:
        raise InvalidMessage(error.reason, f"data.{error.field}".rstrip(".")) from None


def _key(secret: str) -> bytes:
    return base64.b64decode(secret.removeprefix(SECRET_PREFIX))


SOURCE = Source("standard", verify, peek, parse)
