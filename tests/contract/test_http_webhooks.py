"""``POST /v1/webhooks/{channel_id}``: every answer that CONTRACT promises, and what stands in the queue after it."""

import json
import time
from collections.abc import Callable
from typing import Any

import pytest

from shared.db.session import transact
from shared.store import accounts, channels
from shared.topology import lane_of
from shared.webhook import BODY_BYTES_MAX
from tests import signing
from tests.contract.asgi import Client, Reply
from tests.contract.conftest import Tenant
from tests.factory import as_json
from tests.github_events import issue_comment

Queued = Callable[[str], list[Any]]


def event(kind: str = "message.created", **message: Any) -> bytes:
    return json.dumps({"type": kind, "timestamp": "2026-11-24T09:00:00Z", "data": as_json("m-1") | message}).encode()


def post(http: Client, channel: channels.NewChannel, body: bytes, **headers: str) -> Reply:
    signed = signing.standard(body, channel.secret) | {name.replace("_", "-"): value for name, value in headers.items()}
    return http.request("POST", f"/v1/webhooks/{channel.id}", body, signed)


def test_a_202_means_that_the_raw_webhook_is_in_the_queue_under_its_id(http: Client, tenant: Tenant, queued: Queued) -> None:
    body = event(conversation_id="c-7", text="Grüße \N{DROPLET}")
    reply = post(http, tenant.standard, body)
    assert reply.status == 202
    (waiting,) = queued("webhooks")
    assert waiting["headers"]["id"] == reply.json["id"]
    assert waiting["headers"]["task"] == "webhooks.store"
    assert waiting["queue"] == f"webhooks.{lane_of(tenant.account_id, 'c-7'):02d}"
    assert waiting["headers"]["headrace_via"] == "webhook"
    assert abs(waiting["headers"]["headrace_accepted_at"] - time.time()) < 10
    assert body.decode() in waiting["body"]
    assert waiting["argument"] == {
        "account_id": tenant.account_id,
        "channel_id": tenant.standard.id,
        "source": "standard",
        "event": "message.created",
        "body": json.loads(body),
    }


def test_a_github_comment_is_queued_in_the_lane_of_its_thread(http: Client, tenant: Tenant, queued: Queued) -> None:
    body = json.dumps(issue_comment()).encode()
    headers = signing.github(body, tenant.github.secret, "issue_comment")
    assert http.request("POST", f"/v1/webhooks/{tenant.github.id}", body, headers).status == 202
    (waiting,) = queued("webhooks")
    assert waiting["queue"] == f"webhooks.{lane_of(tenant.account_id, 'octo/hello#7'):02d}"
    assert (waiting["argument"]["event"], waiting["argument"]["body"]) == ("issue_comment.created", json.loads(body))


def test_an_event_that_is_not_handled_is_acknowledged_counted_and_not_queued(
    http: Client, tenant: Tenant, queued: Queued
) -> None:
    def discarded() -> float:
        lines = http.request("GET", "/metrics").body.decode().splitlines()
        name = 'headrace_messages_total{outcome="discarded",queue="webhooks"} '
        return next(float(line.removeprefix(name)) for line in lines if line.startswith(name))

    before = discarded()
    assert post(http, tenant.standard, event("message.deleted")).status == 202
    ping = b'{"zen":"Keep it logically awesome."}'
    headers = signing.github(ping, tenant.github.secret, "ping")
    reply = http.request("POST", f"/v1/webhooks/{tenant.github.id}", ping, headers)
    assert (reply.status, list(reply.json)) == (202, ["id"])
    assert queued("webhooks") == []
    assert discarded() - before == 2


@pytest.mark.parametrize("channel_id", ["01a20fd5-59c1-74b5-946d-d84df3648236", "x", "", "%00", "a%2Fb", "%FF", "1" * 5000])
def test_no_such_channel_is_a_404(http: Client, tenant: Tenant, channel_id: str) -> None:
    reply = http.request("POST", f"/v1/webhooks/{channel_id}", event(), signing.standard(event(), tenant.standard.secret))
    assert (reply.status, reply.headers["content-type"]) == (404, "application/problem+json")


def test_a_channel_of_a_disabled_account_or_in_other_letters_is_a_404(http: Client, tenant: Tenant) -> None:
    shouted = tenant.standard._replace(id=tenant.standard.id.upper())
    assert post(http, shouted, event()).status == 404
    transact(lambda session: accounts.disable(session, tenant.account_id))
    assert post(http, tenant.standard, event()).status == 404


def test_a_bad_signature_is_a_401_and_leaves_nothing(http: Client, tenant: Tenant, queued: Queued) -> None:
    late = signing.standard(event(), tenant.standard.secret, at=time.time() - 400)
    for headers in ({}, late, signing.github(event(), tenant.standard.secret, "ping")):
        reply = http.request("POST", f"/v1/webhooks/{tenant.standard.id}", event(), headers)
        assert (reply.status, reply.json["title"]) == (401, "Unauthorized")
        assert "www-authenticate" in reply.headers
    assert queued("webhooks") == []


def test_both_secrets_are_accepted_while_they_rotate(http: Client, tenant: Tenant) -> None:
    secret = transact(lambda session: channels.rotate(session, tenant.standard.id))
    assert post(http, tenant.standard, event()).status == 202
    assert post(http, tenant.standard._replace(secret=secret), event()).status == 202


def test_a_fault_in_the_message_is_a_400_that_names_its_field(http: Client, tenant: Tenant, queued: Queued) -> None:
    reply = post(http, tenant.standard, event(text=None))
    assert reply.status == 400
    assert reply.json["errors"] == [{"index": 0, "field": "data.text", "reason": "Expected `str`, got `null`"}]
    assert queued("webhooks") == []


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"nonsense",
        b"[]",
        b"\xff\xfe",
        b'{"type":"message.created","data":NaN}',
        event().replace(b"text of m-1", b"\\ud800"),
        event().replace(b"text of m-1", b"\\u0000"),
        event().replace(b"{", b'{"unread":"\xff",', 1),
        b'{"type":"message.created","data":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
        event().replace(b'"metadata": {}', b'"metadata": {"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
    ],
)
def test_what_cannot_be_stored_is_a_400_however_it_is_broken(http: Client, tenant: Tenant, queued: Queued, body: bytes) -> None:
    assert post(http, tenant.standard, body).status == 400
    assert queued("webhooks") == []


def test_no_depth_of_nesting_is_an_error_of_ours(http: Client, tenant: Tenant) -> None:
    statuses = []
    for depth in range(850, 1000):
        body = event().replace(b'"metadata": {}', b'"metadata": {"a":' + b"[" * depth + b"]" * depth + b"}")
        statuses.append(post(http, tenant.standard, body).status)
    assert set(statuses) == {202, 400}


def test_a_body_over_a_mebibyte_is_a_413_declared_or_not(http: Client, tenant: Tenant) -> None:
    path = f"/v1/webhooks/{tenant.standard.id}"
    assert http.request("POST", path, b"", {"Content-Length": str(BODY_BYTES_MAX + 1)}).status == 413
    assert http.request("POST", path, b"", {"Content-Length": "9" * 5000}).status == 413
    assert http.request("POST", path, [b"x" * 2**19] * 3).status == 413


def test_a_body_of_a_mebibyte_is_taken(http: Client, tenant: Tenant) -> None:
    body = event().ljust(BODY_BYTES_MAX)
    assert post(http, tenant.standard, body).status == 202


def test_a_body_in_many_pieces_is_one(http: Client, tenant: Tenant) -> None:
    body = event()
    pieces = [body[place : place + 10] for place in range(0, len(body), 10)]
    headers = signing.standard(body, tenant.standard.secret)
    assert http.request("POST", f"/v1/webhooks/{tenant.standard.id}", pieces, headers).status == 202
