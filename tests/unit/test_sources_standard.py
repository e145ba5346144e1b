"""The `standard` source: whom it believes and what it makes of a body."""

import json
import time
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.errors import InvalidMessage, InvalidSignature
from shared.store.channels import new_secret
from tasks.sources import standard
from tests import signing
from tests.factory import as_json

SECRET = new_secret("standard")
BODY = b'{"type":"message.created","data":{}}'
NOW = 1_795_000_000.0


def event(kind: str = "message.created", **message: Any) -> bytes:
    return json.dumps({"type": kind, "timestamp": "2026-11-24T09:00:00Z", "data": as_json("m-1") | message}).encode()


def test_the_example_of_the_specification_is_accepted() -> None:
    headers = {
        "webhook-id": "msg_p5jXN8AQM9LWM0D4loKWxJek",
        "webhook-timestamp": "1614265330",
        "webhook-signature": "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE=",
    }
    standard.verify(headers, b'{"test": 2432232314}', ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"], 1614265330)


@pytest.mark.parametrize("off", [-300, 0, 300])
def test_a_signature_within_the_window_is_accepted(off: float) -> None:
    standard.verify(signing.standard(BODY, SECRET, at=NOW + off), BODY, [SECRET], NOW)


@pytest.mark.parametrize("off", [-301, 301])
def test_a_time_stamp_outside_the_window_is_refused_though_signed(off: float) -> None:
    with pytest.raises(InvalidSignature, match="seconds off"):
        standard.verify(signing.standard(BODY, SECRET, at=NOW + off), BODY, [SECRET], NOW)


def test_any_of_several_signatures_may_match() -> None:
    headers = signing.standard(BODY, SECRET, at=NOW)
    headers["webhook-signature"] = f"v1a,AAAA v1,AAAA {headers['webhook-signature']}"
    standard.verify(headers, BODY, [SECRET], NOW)


def test_every_accepted_secret_is_tried() -> None:
    standard.verify(signing.standard(BODY, SECRET, at=NOW), BODY, [new_secret("standard"), SECRET], NOW)


@pytest.mark.parametrize(
    "changed",
    [
        {"webhook-id": "msg_2"},
        {"webhook-timestamp": str(int(NOW) + 1)},
        {"webhook-signature": ""},
        {"webhook-signature": "v1,"},
        {"webhook-signature": "v1,\xff\xfe"},
        {"webhook-timestamp": "soon"},
        {"webhook-timestamp": "\u0661" * 10},
        {"webhook-timestamp": "9" * 5000},
        {"webhook-timestamp": "-5"},
        {"webhook-id": ""},
    ],
)
def test_whatever_was_not_signed_is_refused(changed: dict[str, str]) -> None:
    with pytest.raises(InvalidSignature):
        standard.verify(signing.standard(BODY, SECRET, at=NOW) | changed, BODY, [SECRET], NOW)


@pytest.mark.parametrize("name", ["webhook-id", "webhook-timestamp", "webhook-signature"])
def test_each_header_is_required(name: str) -> None:
    headers = signing.standard(BODY, SECRET, at=NOW)
    del headers[name]
    with pytest.raises(InvalidSignature):
        standard.verify(headers, BODY, [SECRET], NOW)


def test_a_body_changed_by_one_byte_or_another_secret_is_refused() -> None:
    headers = signing.standard(BODY, SECRET, at=NOW)
    for body, secrets in ((BODY + b" ", [SECRET]), (BODY, [new_secret("standard")]), (BODY, [])):
        with pytest.raises(InvalidSignature):
            standard.verify(headers, body, secrets, NOW)


def test_a_header_full_of_signatures_costs_little() -> None:
    headers = signing.standard(BODY, SECRET, at=NOW)
    headers["webhook-signature"] = "v1,AAAA " * 8000 + headers["webhook-signature"]
    started = time.process_time()
    with pytest.raises(InvalidSignature):
        standard.verify(headers, BODY, [SECRET], NOW)
    assert time.process_time() - started < 0.05


@given(st.dictionaries(st.sampled_from(["webhook-id", "webhook-timestamp", "webhook-signature"]), st.text()), st.binary())
def test_no_header_raises_anything_but_a_refusal(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(InvalidSignature):
        standard.verify(headers, body, [SECRET], NOW)


def test_the_conversation_is_the_key_of_order() -> None:
    peek = standard.peek({}, event(conversation_id="c-9"))
    assert peek == ("message.created", "c-9", True)


def test_an_event_that_is_not_handled_is_no_error() -> None:
    body = b'{"type":"message.deleted","data":[1]}'
    assert standard.peek({}, body) == ("message.deleted", "", False)
    assert standard.parse("message.deleted", body) is None


@pytest.mark.parametrize(
    ("body", "field"),
    [
        (b'{"type":"message.created","data":{"message_id":"m"}}', "data.conversation_id"),
        (event(text="a\0b"), "data.text"),
        (event(text="x" * 65_537), "data.text"),
        (event(message_id=""), "data.message_id"),
        (event(metadata={"k": "a\0b"}), "data.metadata"),
        (event(metadata={"k": "x" * 9000}), "data.metadata"),
        (event(sent_at="2026-11-24T09:00:00"), "data.sent_at"),
        (b'{"type":"message.created"}', "data"),
        (b'{"data":{}}', "type"),
        (b'{"type":7}', "type"),
        (b"[]", ""),
        (b"", ""),
        (b"\xff", ""),
        (b'{"type":"message.created","data":NaN}', ""),
        (event().replace(b"text of m-1", b"\\ud800"), ""),
        (event().replace(b"text of m-1", b"\xff"), ""),
        (b'{"type":"message.created","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}", ""),
        (event().replace(b'"metadata": {}', b'"metadata": {"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"), ""),
    ],
)
def test_a_fault_is_named_by_its_field_and_nothing_else_is_raised(body: bytes, field: str) -> None:
    for judge in (lambda: standard.peek({}, body), lambda: standard.parse("message.created", body)):
        with pytest.raises(InvalidMessage) as caught:
            judge()
        assert caught.value.field.startswith(field)


def test_the_last_of_duplicate_keys_wins() -> None:
    body = event().replace(b'"text": "text of m-1"', b'"text": "first", "text": "last"')
    message = standard.parse("message.created", body)
    assert message is not None
    assert message.text == "last"


@given(
    st.binary() | st.text().map(str.encode) | st.recursive(st.none() | st.text(), st.lists).map(lambda v: json.dumps(v).encode())
)
def test_no_body_raises_anything_but_a_fault(body: bytes) -> None:
    with suppress(InvalidMessage):
        assert not standard.peek({}, body).handled
