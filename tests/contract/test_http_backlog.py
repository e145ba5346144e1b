"""An account's backlog is bounded: 429 with `Retry-After`, nothing taken, and nobody else refused."""

import asyncio
import json
from collections.abc import Callable, Iterator
from typing import Any
from uuid import uuid4

import pytest
import redis

from shared.broker.claims import Claims
from shared.db.session import transact
from shared.settings import settings
from shared.store import accounts
from shared.topology import MESSAGES, lane_queues
from tests import signing
from tests.claiming import LEASE_MS, tokens
from tests.conftest import RunningStack
from tests.contract.asgi import Client, Reply
from tests.contract.conftest import Tenant
from tests.factory import as_json
from tests.waiting import eventually

Queued = Callable[[str], list[Any]]

LANES = lane_queues(MESSAGES, 32)


BOUND = 2_000


@pytest.fixture(autouse=True)
def bound(clean: RunningStack, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """A bound that is quickly reached, the same in company and without."""
    for name in ("ACCOUNT_BACKLOG_MAX", "ACCOUNT_BACKLOG_SHARED_MAX"):
        monkeypatch.setenv(f"HEADRACE_{name}", str(BOUND))
    settings.cache_clear()
    yield
    monkeypatch.undo()
    settings.cache_clear()


@pytest.fixture
def broker(clean: RunningStack) -> Iterator[redis.Redis]:
    with redis.Redis.from_url(clean.broker_url) as broker:
        yield broker


def post(http: Client, bearer: dict[str, str], count: int) -> Reply:
    messages = [as_json(str(uuid4()), f"c-{number}") for number in range(count)]
    return http.request("POST", "/v1/messages", json.dumps(messages).encode(), bearer)


def fill(http: Client, tenant: Tenant) -> None:
    """Send until the account is at its bound; the broker has been looked at by then."""
    for _ in range(BOUND // 1000):
        assert post(http, tenant.bearer, 1000).status == 202
    eventually("the ingress knows it", lambda: post(http, tenant.bearer, 1000).status == 429)


def test_above_its_bound_an_account_gets_429_and_nothing_of_the_request_is_taken(
    http: Client, tenant: Tenant, queued: Queued
) -> None:
    fill(http, tenant)
    before = len(queued(MESSAGES))
    reply = post(http, tenant.bearer, 1000)
    assert (reply.status, reply.headers["content-type"]) == (429, "application/problem+json")
    assert 1 <= int(reply.headers["retry-after"]) <= 30
    assert len(queued(MESSAGES)) == before == BOUND


def test_requests_that_arrive_at_once_do_not_pass_the_bound_together(http: Client, tenant: Tenant, queued: Queued) -> None:
    body = json.dumps([as_json(str(uuid4())) for _ in range(1000)]).encode()

    async def at_once() -> list[int]:
        headers = [(name.lower().encode(), value.encode()) for name, value in tenant.bearer.items()]
        replies = await asyncio.gather(*(http.exchange("POST", "/v1/messages", [body], headers) for _ in range(10)))
        return [reply.status for reply in replies]

    statuses = http.run(at_once())
    assert len(queued(MESSAGES)) == 1000 * statuses.count(202) <= BOUND
    assert statuses.count(429) == 10 - statuses.count(202)


def test_another_account_is_taken_while_one_is_refused(http: Client, tenant: Tenant) -> None:
    other = transact(lambda session: accounts.create(session, "other"))
    fill(http, tenant)
    for _ in range(20):
        assert post(http, {"Authorization": f"Bearer {other.api_key}"}, 10).status == 202
        assert post(http, tenant.bearer, 10).status == 429


def test_what_workers_hold_counts_and_what_they_settle_makes_room(http: Client, tenant: Tenant, broker: redis.Redis) -> None:
    fill(http, tenant)
    claims = Claims(broker)
    claims.join("a", LEASE_MS)
    held = claims.claim("a", [(lane, True) for lane in LANES], 10_000).messages
    assert len(held) == BOUND
    for _ in range(5):
        assert post(http, tenant.bearer, 1000).status == 429
    claims.ack("a", tokens(held[:1500]))
    eventually("there is room", lambda: post(http, tenant.bearer, 1000).status == 202)


def test_a_full_request_is_taken_whenever_nothing_waits(http: Client, tenant: Tenant, broker: redis.Redis) -> None:
    fill(http, tenant)
    broker.delete(*LANES)
    eventually("all is drained", lambda: post(http, tenant.bearer, 1000).status == 202)


def test_a_refused_request_leaves_no_room_taken(http: Client, tenant: Tenant, queued: Queued) -> None:
    for _ in range(10):
        assert http.request("POST", "/v1/messages", json.dumps([{}] * 1000).encode(), tenant.bearer).status == 400
    assert post(http, tenant.bearer, 1000).status == 202


def test_webhooks_count_towards_the_same_bound(http: Client, tenant: Tenant, queued: Queued) -> None:
    fill(http, tenant)
    body = json.dumps({"type": "message.created", "data": as_json("m")}).encode()

    def send() -> Reply:
        path = f"/v1/webhooks/{tenant.standard.id}"
        return http.request("POST", path, body, signing.standard(body, tenant.standard.secret))

    reply = send()
    assert (reply.status, queued("webhooks")) == (429, [])
    assert "retry-after" in reply.headers
