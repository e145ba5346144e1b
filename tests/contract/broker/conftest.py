"""A broker of each kind, with two consumers."""

from collections.abc import Iterator

import pytest
import redis

from shared.broker.claims import Claims
from tests.claiming import LEASE_MS
from tests.redis_server import RedisServer, running


@pytest.fixture(scope="module")
def server(redis_binary: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A server for the module, of each kind that `redis_server.binaries` names."""
    with running(redis_binary, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture
def client(server: RedisServer) -> redis.Redis:
    """Its client; the server is empty."""
    server.client.flushdb()
    return server.client


@pytest.fixture
def claims(client: redis.Redis) -> Claims:
    """Consumers ``a`` and ``b`` have joined."""
    claims = Claims(client)
    for consumer in ("a", "b"):
        claims.join(consumer, LEASE_MS)
    return claims
