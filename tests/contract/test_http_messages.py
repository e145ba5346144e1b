"""``POST /v1/messages``: taken whole or not at all, and every fault named."""

import json
from collections.abc import Callable
from typing import Any

import pytest

from shared.db.session import transact
from shared.message import MESSAGES_A_REQUEST_MAX
from shared.store import accounts
from shared.topology import lane_of
from tests.contract.asgi import Client, Reply
from tests.contract.conftest import Tenant
from tests.factory import as_json

Queued = Callable[[str], list[Any]]


def post(http: Client, tenant: Tenant, value: Any) -> Reply:
    body = value if isinstance(value, bytes) else json.dumps(value).encode()
    return http.request("POST", "/v1/messages", body, tenant.bearer)


def test_one_message_is_queued_in_its_lane(http: Client, tenant: Tenant, queued: Queued) -> None:
    reply = post(http, tenant, as_json("m-1", "c-1", metadata={"a": [1, None]}))
    assert (reply.status, reply.json) == (202, {"accepted": 1})
    (waiting,) = queued("messages")
    assert waiting["argument"] == {"account_id": tenant.account_id, **as_json("m-1", "c-1", metadata={"a": [1, None]})}
    assert waiting["queue"] == f"messages.{lane_of(tenant.account_id, 'c-1'):02d}"
    assert (waiting["headers"]["task"], waiting["headers"]["headrace_via"]) == ("messages.store", "api")


def test_a_full_array_is_queued_in_its_order(http: Client, tenant: Tenant, queued: Queued) -> None:
    names = [f"m-{number}" for number in range(MESSAGES_A_REQUEST_MAX)]
    reply = post(http, tenant, [as_json(name) for name in names])
    assert (reply.status, reply.json) == (202, {"accepted": MESSAGES_A_REQUEST_MAX})
    assert [waiting["argument"]["message_id"] for waiting in queued("messages")] == names


def test_an_empty_array_is_accepted(http: Client, tenant: Tenant) -> None:
    assert post(http, tenant, b" [] ").json == {"accepted": 0}


def test_every_fault_is_named_and_nothing_of_the_request_is_taken(http: Client, tenant: Tenant, queued: Queued) -> None:
    broken = as_json("m-2")
    del broken["author"]["id"]
    reply = post(http, tenant, [as_json("m-1"), broken, as_json("m-3", sent_at="yesterday"), 7])
    assert (reply.status, reply.headers["content-type"]) == (400, "application/problem+json")
    assert [(fault["index"], fault["field"]) for fault in reply.json["errors"]] == [(1, "author.id"), (2, "sent_at"), (3, "")]
    assert queued("messages") == []


def test_the_faults_named_are_bounded(http: Client, tenant: Tenant) -> None:
    assert len(post(http, tenant, [{}] * MESSAGES_A_REQUEST_MAX).json["errors"]) == 100


@pytest.mark.parametrize(
    "value",
    [
        [as_json("m")] * (MESSAGES_A_REQUEST_MAX + 1),
        b"",
        b"[",
        b"nonsense",
        b'"text"',
        b"[" * 100_000,
        b'[{"a":NaN}]',
        as_json("m", text="a\0b"),
        as_json("m", text="\ud800"),
        as_json("m", metadata=[]),
        as_json("m", conversation_id="x" * 256),
        as_json(""),
    ],
)
def test_what_is_no_message_is_a_400_that_shows_no_content(http: Client, tenant: Tenant, queued: Queued, value: Any) -> None:
    reply = post(http, tenant, value)
    assert (reply.status, reply.json["type"], reply.json["status"]) == (400, "about:blank", 400)
    assert b"text of" not in reply.body
    assert queued("messages") == []


@pytest.mark.parametrize(
    "headers",
    [
        {},
        {"Authorization": "Bearer"},
        {"Authorization": "Bearer hr_wrong"},
        {"Authorization": "Bearer \xe9"},
        {"Authorization": "Basic aHI6aHI="},
        {"Authorization": "Bearer " + "x" * 10_000},
    ],
)
def test_without_a_valid_key_the_answer_is_401(http: Client, tenant: Tenant, headers: dict[str, str]) -> None:
    reply = http.request("POST", "/v1/messages", b"{}", headers)
    assert (reply.status, reply.headers["www-authenticate"]) == (401, "Bearer")


def test_the_key_of_a_disabled_account_is_none(http: Client, tenant: Tenant) -> None:
    transact(lambda session: accounts.disable(session, tenant.account_id))
    assert post(http, tenant, as_json("m")).status == 401


def test_the_scheme_may_be_in_any_letters(http: Client, tenant: Tenant) -> None:
    key = tenant.bearer["Authorization"].removeprefix("Bearer ")
    assert http.request("POST", "/v1/messages", b"[]", {"authorization": f"bearer {key}"}).status == 202


def test_a_body_over_8_mebibytes_is_a_413(http: Client, tenant: Tenant) -> None:
    declared = tenant.bearer | {"Content-Length": str(8 * 2**20 + 1)}
    assert http.request("POST", "/v1/messages", b"", declared).status == 413
    assert http.request("POST", "/v1/messages", [b" " * 2**20] * 9, tenant.bearer).status == 413
