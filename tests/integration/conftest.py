"""Workers and a producer on the embedded stack."""

from collections.abc import Callable, Iterator

import pytest
import redis
from celery import Celery
from pytest_celery import CeleryTestWorker

from shared.producer import Producer
from tests.conftest import RunningStack
from tests.nodes import worker_node


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
