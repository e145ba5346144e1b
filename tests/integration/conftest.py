"""Workers and a producer on the embedded stack; caches over a Redis of their own."""

from collections.abc import Callable, Iterator
from typing import Any

import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestWorker

from shared.cache.tiers import Tiers
from shared.db.engine import close_engine, use_pool_of
from shared.producer import Producer
from tests.caches import Process, Start, process
from tests.conftest import RunningStack
from tests.nodes import worker_node
from tests.redis_server import EMBEDDED, RedisServer, running


@pytest.fixture
def many_connections(clean: RunningStack) -> Iterator[None]:
    """This process may store from up to 20 threads at once, into empty tables."""
    close_engine()
    use_pool_of(20)
    yield
    close_engine()
    use_pool_of(2)


@pytest.fixture
def broker(clean: RunningStack) -> Iterator[redis.Redis]:
    """The broker, emptied."""
    with redis.Redis.from_url(clean.broker_url) as client:
        yield client


@pytest.fixture
def producer(clean: RunningStack) -> Iterator[Producer]:
    """Our own producer."""
    it = Producer(clean.broker_url)
    yield it
    it.close()


@pytest.fixture
def stock_client(clean: RunningStack) -> Iterator[Celery]:
    """A Celery client that knows nothing of Headrace."""
    with Celery("producer", broker=clean.broker_url, set_as_current=False) as client:
        yield client


@pytest.fixture
def start_worker(clean: RunningStack, stock_client: Celery) -> Iterator[Callable[..., CeleryTestWorker]]:
    """Starts worker processes; all of them are gone after the test."""
    nodes: list[CeleryTestWorker] = []

    def start(name: str = "w1", **environment: str) -> CeleryTestWorker:
        node = worker_node(name, {**clean.environment, **environment}, stock_client)
        nodes.append(node)
        return node

    yield start
    for node in nodes:
        node.teardown()


@pytest.fixture(scope="module")
def cache_server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[RedisServer]:
    """A cache's Redis of the module's own."""
    with running(EMBEDDED, tmp_path_factory.mktemp("cache")) as it:
        yield it


@pytest.fixture
def start_cache(cache_server: RedisServer) -> Iterator[Start]:
    """Starts what a process has, over the emptied server or another URL; closed with the test."""
    cache_server.client.flushall()
    started: list[Tiers] = []

    def it(url: str = "", **changes: Any) -> Process:
        tiers, cache = process(url or cache_server.url, **changes)
        started.append(tiers)
        return tiers, cache

    yield it
    for tiers in started:
        tiers.close()
