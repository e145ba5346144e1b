"""The HTTP surface in the process, over the real database and the real broker."""

import json
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import pytest
import redis

from shared.db.session import transact
from shared.producer import Producer
from shared.settings import settings
from shared.store import accounts, channels
from tests.conftest import RunningStack
from tests.contract.asgi import Client
from workers.ingress.app import App
from workers.ingress.edge import Edge


class Tenant(NamedTuple):
    """An account with a channel of each source."""

    account_id: str
    bearer: dict[str, str]
    standard: channels.NewChannel
    github: channels.NewChannel


@pytest.fixture
def http(clean: RunningStack) -> Iterator[Client]:
    """The application."""
    edges: list[Edge] = []

    def make() -> App:
        edges.append(Edge(settings(), Producer(clean.broker_url)))
        return App(edges[0])

    async def close() -> None:
        await edges[0].close()

    client = Client(make, close)
    yield client
    client.close()


@pytest.fixture
def tenant(clean: RunningStack) -> Tenant:
    """Somebody to act for."""
    account = transact(lambda session: accounts.create(session, "tenant"))
    standard = transact(lambda session: channels.add(session, account.id, "standard"))
    github = transact(lambda session: channels.add(session, account.id, "github"))
    return Tenant(account.id, {"Authorization": f"Bearer {account.api_key}"}, standard, github)


@pytest.fixture
def queued(clean: RunningStack) -> Iterator[Callable[[str], list[Any]]]:
    """The messages of a kind of queue, each lane's oldest first: their envelopes, with ``argument`` decoded and ``queue``."""
    with redis.Redis.from_url(clean.broker_url) as broker:

        def read(kind: str) -> list[Any]:
            found = []
            for queue in sorted(broker.scan_iter(f"{kind}.[0-9]*", _type="list")):
                for payload in reversed(broker.lrange(queue, 0, -1)):
                    it = json.loads(payload)
                    found.append(it | {"argument": json.loads(it["body"])[0][0], "queue": queue.decode()})
            return found

        yield read
