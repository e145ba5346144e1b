"""Ages, and what a replayed message looks like on the wire."""

import base64
import json
from datetime import timedelta

import click
import pytest

from shared.db.models import DeadLetterRow
from shared.envelope import replayed
from workers.cli.dlq import Age
from workers.replay import is_replayable


@pytest.mark.parametrize(
    ("text", "age"),
    [("90s", timedelta(seconds=90)), ("30m", timedelta(minutes=30)), ("2h", timedelta(hours=2)), ("7d", timedelta(days=7))],
)
def test_an_age_is_a_number_and_a_unit(text: str, age: timedelta) -> None:
    assert Age().convert(text, None, None) == age


@pytest.mark.parametrize("text", ["", "7", "d", "7w", "-1d", "1.5h", "9999999d"])
def test_anything_else_is_refused(text: str) -> None:
    with pytest.raises(click.BadParameter):
        Age().convert(text, None, None)


def test_a_replayed_message_keeps_its_body_and_headers_but_not_what_would_end_it_at_once() -> None:
    headers = {
        "task": "messages.store",
        "id": "old",
        "expires": "2020-01-01T00:00:00Z",
        "eta": "2020-01-01",
        "retries": 3,
        "x": 1,
    }
    queue, payload = replayed("messages", "new", headers, "[[{}],{},{}] ü".encode())
    message = json.loads(payload)
    assert queue == "messages"
    assert message["body"] == "[[{}],{},{}] ü"
    assert message["headers"] == {
        "task": "messages.store",
        "id": "new",
        "root_id": "new",
        "eta": None,
        "retries": 0,
        "x": 1,
    }
    assert message["properties"]["delivery_tag"] == "new"


def test_a_body_that_is_no_text_goes_back_byte_for_byte() -> None:
    message = json.loads(replayed("messages", "new", {"task": "t"}, b"\xff\x00").payload)
    assert message["properties"]["body_encoding"] == "base64"
    assert base64.b64decode(message["body"]) == b"\xff\x00"


@pytest.mark.parametrize(
    ("queue", "headers", "replayable"),
    [
        ("messages", {"task": "messages.store"}, True),
        ("webhooks.31", {"task": "of.a.newer.version"}, True),
        ("webhooks.32", {"task": "webhooks.store"}, False),
        ("messages", {}, False),
        ("messages", {"task": 7}, False),
        ("unnamed", {"task": "messages.store"}, False),
    ],
)
def test_only_a_task_message_of_a_queue_is_replayable(queue: str, headers: dict[str, object], replayable: bool) -> None:
    assert is_replayable(DeadLetterRow(queue=queue, headers=headers)) is replayable
