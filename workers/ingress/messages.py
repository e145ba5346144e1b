"""``POST /v1/messages``: one message or an array of them, taken whole or not at all.

Every fault is named with its index and field, up to `FAULTS_MAX`; a request with any fault publishes nothing.
"""

import asyncio
from collections.abc import Sequence
from typing import Any

import msgspec

from shared.clock import wall_seconds
from shared.envelope import Enqueued, envelope
from shared.errors import InvalidMessage
from shared.message import MESSAGES_A_REQUEST_MAX, decode, decode_message, encode_queued
from shared.topology import STORE_MESSAGES, lane_of
from workers.ingress.answer import Answer, Refused, json
from workers.ingress.edge import Edge
from workers.ingress.request import Request

BODY_BYTES_MAX = 8 * 2**20

FAULTS_MAX = 100
"""Faults named in one answer; whoever sends more has one mistake, not a hundred."""

MESSAGES_A_TURN = 100
"""Messages checked before other requests get a turn: some 2 ms."""

INVALID = "nothing of the request was taken; mend what is listed and repeat it"


async def take(edge: Edge, request: Request) -> Answer:
    """Take the request's messages."""
    request.refuse_larger(BODY_BYTES_MAX)
    account_id = await edge.account_id(request)
    body = await request.body(BODY_BYTES_MAX)
    accepted_at = wall_seconds()
    raws = _split(body)
    with edge.quota.room(account_id, len(raws)):
        messages = await _messages(edge, account_id, raws, accepted_at)
        if messages:
            await edge.publish(account_id, messages)
    return json(202, {"accepted": len(messages)})


async def _messages(edge: Edge, account_id: str, raws: Sequence[bytes | msgspec.Raw], accepted_at: float) -> list[Enqueued]:
    messages: list[Enqueued] = []
    faults: list[dict[str, Any]] = []
    for index, raw in enumerate(raws):
        if index and index % MESSAGES_A_TURN == 0:
            await asyncio.sleep(0)
        try:
            messages.append(_message(edge, account_id, raw, accepted_at))
        except InvalidMessage as error:
            faults.append({"index": index, "field": error.field, "reason": error.reason})
            if len(faults) == FAULTS_MAX:
                break
    if faults:
        raise Refused(400, INVALID, errors=faults)
    return messages


def _split(body: bytes) -> list[bytes] | list[msgspec.Raw]:
    if not body.lstrip(b" \t\r\n").startswith(b"["):
        return [body]
    try:
        raws = decode(body, list[msgspec.Raw])
    except InvalidMessage as error:
        raise Refused(400, f"the body is {error.reason}") from None
    if len(raws) > MESSAGES_A_REQUEST_MAX:
        raise Refused(400, f"more than {MESSAGES_A_REQUEST_MAX} messages in one request")
    return raws


def _message(edge: Edge, account_id: str, raw: bytes | msgspec.Raw, accepted_at: float) -> Enqueued:
    message = decode_message(raw)
    lane = lane_of(account_id, message.conversation_id, edge.lanes)
    return envelope(STORE_MESSAGES, encode_queued(account_id, message), lane=lane, accepted_at=accepted_at, via="api")
