"""The webhook contract: a provider's call as it stands in the queue, raw but for its envelope."""

import msgspec
from msgspec import Struct

from shared.errors import InvalidMessage
from shared.message import decode

BODY_BYTES_MAX = 2**20
"""Largest provider's body the edge takes: 1 MiB; GitHub's and Slack's stay below it."""


class QueuedWebhook(Struct, frozen=True):
    """A verified webhook. ``body`` is the provider's JSON, byte for byte: a parser's bug costs a replay, never a message."""

    account_id: str
    channel_id: str
    source: str
    event: str
    body: msgspec.Raw


def encode_webhook(webhook: QueuedWebhook) -> bytes:
    """The JSON that `decode_webhook` reads. Raises InvalidMessage when the body is not UTF-8."""
    encoded = msgspec.json.encode(webhook)
    try:
        encoded.decode()
    except UnicodeDecodeError:
        raise InvalidMessage("not valid JSON in UTF-8") from None
    return encoded


def decode_webhook(raw: bytes | msgspec.Raw) -> QueuedWebhook:
    """One webhook from its JSON. Raises InvalidMessage."""
    return decode(raw, QueuedWebhook)
