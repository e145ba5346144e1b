"""The links on which an idle consumer waits: hints, whose loss is nobody's error."""

from types import SimpleNamespace
from typing import Any

import redis

from shared.broker.waiting import Waiting


class Refusing:
    """A poller of a server that is away."""

    def _client_registered(self, *_: Any) -> bool:
        return False

    def _register(self, *_: Any) -> None:
        raise redis.ConnectionError("refused")


def test_a_server_that_is_away_costs_a_hint_and_never_the_worker() -> None:
    channel = SimpleNamespace(
        _create_client=lambda **_: SimpleNamespace(connection=None), connection=SimpleNamespace(cycle=Refusing())
    )
    waiting = Waiting(channel)  # type: ignore[arg-type]
    waiting.listen()
    waiting.watch("messages")
    assert not waiting.heard([b"messages"])
    waiting.close()
