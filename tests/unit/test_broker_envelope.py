"""Reading payloads that stock producers, others and nobody in particular wrote."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.broker.envelope import Undecodable, decode, due_ms

GOOD: dict[str, Any] = {
    "body": "W10=",
    "content-type": "application/json",
    "content-encoding": "utf-8",
    "headers": {"task": "t", "id": "1"},
    "properties": {"body_encoding": "base64", "delivery_info": {"exchange": ""}},
}


def test_a_stock_message_is_read() -> None:
    envelope = decode(json.dumps(GOOD).encode())
    assert (envelope["body"], envelope["properties"]["delivery_info"]) == (b"[]", {"exchange": ""})


@pytest.mark.parametrize("header", ["NaN", "1" * 30, '"\\ud800"'])
def test_what_only_the_standard_library_reads_is_read(header: str) -> None:
    text = json.dumps(GOOD).replace('"id": "1"', f'"id": "1", "extra": {header}')
    assert "extra" in decode(text.encode())["headers"]


def test_kombus_typed_values_are_read() -> None:
    marked = {"__type__": "datetime", "__value__": "2026-01-02T03:04:05+00:00"}
    envelope = decode(json.dumps(GOOD | {"headers": GOOD["headers"] | {"eta": marked}}).encode())
    assert due_ms(envelope) == 1767323045000


@pytest.mark.parametrize(
    "change",
    [
        {"body": None},
        {"body": "\u00e4"},
        {"body": "W"},
        {"headers": []},
        {"headers": {"task": 1}},
        {"headers": {"task": "t"}},
        {"properties": None},
        {"properties": {"body_encoding": "rot13"}},
        {"content-type": None},
    ],
)
def test_what_celery_would_stumble_over_is_refused(change: dict[str, Any]) -> None:
    with pytest.raises(Undecodable):
        decode(json.dumps(GOOD | change).encode())


@given(st.binary() | st.recursive(st.none() | st.text() | st.floats(), st.lists).map(lambda v: json.dumps(v).encode()))
def test_anything_else_is_refused_and_raises_nothing_else(payload: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(payload)


@pytest.mark.parametrize("deep", [b"[" * 100_000, b'{"a":' * 100_000])
def test_a_deep_payload_is_refused(deep: bytes) -> None:
    with pytest.raises(Undecodable):
        decode(deep)


@pytest.mark.parametrize(
    ("eta", "due"),
    [
        ("2026-01-02T03:04:05+00:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05Z", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T03:04:05", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        ("2026-01-02T05:04:05+02:00", datetime(2026, 1, 2, 3, 4, 5, tzinfo=UTC)),
        (None, None),
        ("soon", None),
        (12, None),
    ],
)
def test_when_a_message_is_due(eta: Any, due: datetime | None) -> None:
    assert due_ms({"headers": {"eta": eta}}) == (due and due.timestamp() * 1000)
