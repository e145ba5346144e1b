"""Where a plain producer's message belongs: read as little of it as can tell, because every one of them is read here."""

from base64 import b64decode
from typing import Any

import msgspec
from msgspec import Struct

from shared.topology import MESSAGES, STORE_MESSAGES, lane_of, lane_queue


class _Headers(Struct):
    task: str


class _Properties(Struct):
    body_encoding: str | None = None


class _Envelope(Struct):
    body: str
    headers: _Headers
    properties: _Properties


class _OrderKey(Struct):
    account_id: str
    conversation_id: str


class _Call(Struct, array_like=True):
    arguments: list[_OrderKey]
    keywords: Any = None


_envelope = msgspec.json.Decoder(_Envelope)
_call = msgspec.json.Decoder(_Call)


def lane_for(payload: bytes, lanes: int) -> str | None:
    """The lane queue of a message in `messages`, or None when it is not a ``messages.store`` with an order key.

    The account and conversation in the body decide, never a header: anybody can write that, and a wrong one would break the
    order of somebody's conversation. Whether the message keeps its contract is for the handler to judge.

    Args:
        payload: a Celery protocol-2 message in kombu's Redis format, or anything.
        lanes: the fleet's number of lanes.
    """
    try:
        envelope = _envelope.decode(payload)
        if envelope.headers.task != STORE_MESSAGES:
            return None
        encoded = envelope.properties.body_encoding == "base64"
        key = _call.decode(b64decode(envelope.body) if encoded else envelope.body).arguments[0]
        return lane_queue(MESSAGES, lane_of(key.account_id, key.conversation_id, lanes))
    except (ValueError, IndexError, RecursionError):  # msgspec's errors are ValueErrors
        return None
