"""A broker of each kind, with two consumers."""

from collections.abc import Iterator
from typing import Any

import pytest
import redis

from shared.broker.claims import Claims
from shared.broker.transport import install
from tests.claiming import LEASE_MS
from tests.reading import Reader
from tests.redis_server import EMBEDDED, SENTINEL, RedisServer, running
from tests.sentinel import SentinelGroup, sentinel_group


@pytest.fixture(scope="session")
def group(tmp_path_factory: pytest.TempPathFactory) -> Iterator[SentinelGroup]:
    """One for all modules: a Sentinel takes 10 s to know its servers."""
    with sentinel_group(EMBEDDED, tmp_path_factory.mktemp("group")) as it:
        yield it


@pytest.fixture(scope="module")
def server(
    redis_binary: str, request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RedisServer | SentinelGroup]:
    """A server of each kind that `redis_server.binaries` names."""
    if redis_binary == SENTINEL:
        yield request.getfixturevalue("group")
        return
    with running(redis_binary, tmp_path_factory.mktemp("redis")) as server:
        yield server


@pytest.fixture(scope="module")
def half_way(redis_binary: str, request: pytest.FixtureRequest) -> str:
    """The name of the test in the middle of the module."""
    module = [item.name for item in request.session.items if item.path == request.path and f"[{redis_binary}" in item.name]
    return module[len(module) // 2] if module else ""


@pytest.fixture(autouse=True)
def failover(server: RedisServer | SentinelGroup, half_way: str, request: pytest.FixtureRequest) -> None:
    """Before the test in the middle, under whatever the tests before it have left open."""
    if isinstance(server, SentinelGroup) and request.node.name == half_way:
        server.failover()


@pytest.fixture
def client(server: RedisServer | SentinelGroup) -> redis.Redis:
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


@pytest.fixture
def local_binary(redis_binary: str) -> str:
    """Of a server of the test's own, for what is no matter of Sentinel."""
    if redis_binary == SENTINEL:
        pytest.skip("Sentinel knows no sockets")
    return redis_binary


@pytest.fixture
def reader(server: RedisServer, client: redis.Redis) -> Iterator[Any]:
    install()
    readers: list[Reader] = []

    def make(*queues: str, **options: Any) -> Reader:
        readers.append(Reader(options.pop("url", server.url), *queues, **options))
        return readers[-1]

    yield make
    for one in readers:
        one.connection.release()
