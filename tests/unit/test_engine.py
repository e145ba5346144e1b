"""A process has one engine, and so one pool, for each server."""

import threading
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import Any

import pytest
from sqlalchemy import Engine

from shared.db import engine as engines
from shared.settings import settings


@pytest.fixture
def slow_making(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Who makes an engine waits for a second one to do the same."""
    create, both = engines.create, threading.Barrier(2)

    def slowly(*arguments: Any) -> Engine:
        with suppress(threading.BrokenBarrierError):
            both.wait(0.3)
        return create(*arguments)

    engines.close_engine()
    monkeypatch.setattr(engines, "create", slowly)
    monkeypatch.setenv("HEADRACE_DATABASE_URL", "postgresql://nobody@127.0.0.1:1/none")
    settings.cache_clear()
    yield
    engines.close_engine()
    monkeypatch.undo()
    settings.cache_clear()


@pytest.mark.usefixtures("slow_making")
def test_threads_that_ask_first_at_once_get_the_same_engine() -> None:
    with ThreadPoolExecutor(2) as threads:
        first, second = [threads.submit(engines.engine) for _ in range(2)]
        assert first.result(10) is second.result(10)
