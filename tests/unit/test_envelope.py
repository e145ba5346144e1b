"""What we write by hand is what Celery and kombu read."""

import json
from typing import Any

import orjson
import pytest
from celery.app.task import Context
from celery.worker.request import Request
from hypothesis import given
from hypothesis import strategies as st
from kombu.transport.virtual import Message

from shared.broker.delivery import NOT_SCHEDULED
from shared.broker.envelope import decode, due_ms
from shared.envelope import envelope, fill, mould, stamp
from shared.topology import STORE_MESSAGES, STORE_WEBHOOKS

JSON_VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**53), 2**53) | st.text(st.characters(exclude_categories=["Cs"])),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.text(st.characters(exclude_categories=["Cs"])), inner, max_size=4)
    ),
    max_leaves=10,
)


class StockChannel:
    """What kombu's message asks of its channel: how bodies are encoded when nothing is said."""

    def prepare_message(self) -> None: ...

    def decode_body(self, body: Any, encoding: Any = None) -> Any:
        assert encoding is None
        return body


def read_by_kombu(payload: bytes) -> Message:
    return Message(json.loads(payload), channel=StockChannel(), accept={"application/json"})


@given(JSON_VALUES)
def test_kombu_reads_the_argument_that_was_written(argument: Any) -> None:
    sent = envelope(STORE_MESSAGES, orjson.dumps(argument), lane=3, accepted_at=1.5, via="api", task_id="an-id")
    message = read_by_kombu(sent.payload)
    assert message.decode() == [[argument], {}, {}]
    assert (message.delivery_tag, message.delivery_info) == ("an-id", {"exchange": "", "routing_key": "messages.03"})


def test_celery_makes_a_request_and_a_context_of_it() -> None:
    sent = envelope(STORE_MESSAGES, b'{"text": "secret"}', lane=3, accepted_at=1.5, via="api", task_id="an-id")
    request = Request(read_by_kombu(sent.payload), app=_app(), task=object())
    assert (request.id, request.name, request.root_id, request.eta, request.expires) == (
        "an-id",
        STORE_MESSAGES,
        "an-id",
        None,
        None,
    )
    assert request.args == [{"text": "secret"}]
    assert "secret" not in repr(request.info(safe=True))
    options = Context(request.request_dict).as_execution_options()
    assert (options["task_id"], options["retries"], options["link"]) == ("an-id", 0, None)


def _app() -> Any:
    from celery import Celery

    return Celery("reader", set_as_current=False)


def test_it_says_when_and_how_it_was_taken() -> None:
    sent = envelope(STORE_WEBHOOKS, b"{}", lane=0, accepted_at=1795565956.747312, via="webhook")
    headers = json.loads(sent.payload)["headers"]
    assert (headers["headrace_accepted_at"], headers["headrace_via"]) == (1795565956.747312, "webhook")
    assert sent.queue == "webhooks.00"


def test_each_message_has_an_id_of_its_own() -> None:
    sent = {envelope(STORE_WEBHOOKS, b"{}", lane=0, accepted_at=1, via="webhook").payload for _ in range(100)}
    assert len(sent) == 100


def test_a_delayed_message_says_when_it_is_due() -> None:
    payload = fill(mould("a.b", "a", "celery"), b"{}", stamp(1.0, "2026-11-24T09:00:00.250000+00:00"), b"an-id")
    assert due_ms(decode(payload)) == 1795510800250


def test_what_is_not_delayed_need_not_be_decoded_to_find_that_out() -> None:
    sent = envelope(STORE_MESSAGES, b'{"eta": 1}', lane=0, accepted_at=1, via="api")
    assert any(mark in sent.payload for mark in NOT_SCHEDULED)
    delayed = fill(mould("a.b", "a", "celery"), b'{"eta":null}', stamp(1.0, "2026-11-24T09:00:00+00:00"), b"an-id")
    assert not any(mark in delayed for mark in NOT_SCHEDULED)


def test_an_argument_that_is_no_utf8_is_refused() -> None:
    with pytest.raises(UnicodeDecodeError):
        envelope(STORE_MESSAGES, b'"\xff"', lane=0, accepted_at=1, via="api")
