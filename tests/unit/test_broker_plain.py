"""Where a plain producer's message belongs."""

import base64
import json
from typing import Any

import pytest

from shared.broker.plain import lane_for
from shared.topology import lane_of


def payload(argument: Any, task: str = "messages.store", *, encoded: bool = False, body: str | None = None) -> bytes:
    text = json.dumps([[argument], {}, {}]) if body is None else body
    properties = {"body_encoding": "base64"} if encoded else {}
    written = base64.b64encode(text.encode()).decode() if encoded else text
    return json.dumps({"headers": {"task": task, "headrace_lane": 7}, "body": written, "properties": properties}).encode()


@pytest.mark.parametrize("encoded", [False, True])
def test_the_body_decides_the_lane_and_no_header_does(encoded: bool) -> None:
    message = {"account_id": "acme", "conversation_id": "ü", "text": "anything", "metadata": {"account_id": "other"}}
    assert lane_for(payload(message, encoded=encoded), 32) == f"messages.{lane_of('acme', 'ü', 32):02d}"


@pytest.mark.parametrize(
    "bad",
    [
        payload({"account_id": "acme"}),
        payload({"account_id": 1, "conversation_id": "c"}),
        payload("text"),
        payload({"account_id": "acme", "conversation_id": "c"}, task="other"),
        payload(None, body="{"),
        payload(None, body="[]"),
        payload(None, body="[[]]"),
        b"",
        b"\xff",
        b"[1]",
        b'{"headers": {}, "body": "", "properties": {}}',
        b'{"headers": {"task": "messages.store"}, "body": "\\ud800", "properties": {}}',
        b"[" * 100_000,
    ],
)
def test_what_has_no_order_key_has_no_lane(bad: bytes) -> None:
    assert lane_for(bad, 32) is None
