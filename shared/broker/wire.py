"""Calls over one connection without waiting: written together, their answers read in order when the socket has them.

The event loop never stands still for the broker's fsync, and acks ride along with the next claim.
"""

from collections import deque
from collections.abc import Callable
from time import monotonic
from typing import Any

import redis
from redis.exceptions import NoScriptError, ResponseError

from shared.broker.calls import Call
from shared.broker.script import refused

Sending = tuple[Call[Any], Callable[[Any], None]]
"""A call and what is to be done with its answer."""


def ignore(_: Any) -> None:
    """For a call whose answer tells nothing new."""


class Wire:
    """See the module. One thread only.

    Args:
        connection: a connected redis-py connection that nothing else uses.
        timeout: seconds until an answer is overdue.
    """

    def __init__(self, connection: Any, timeout: float) -> None:
        self.connection = connection
        self._timeout = timeout
        self._pending: deque[tuple[float, Call[Any], Callable[[Any], None]]] = deque()

    def send(self, calls: list[Sending]) -> None:
        """Write calls, together. Raises redis.ConnectionError."""
        if not calls:
            return
        now = monotonic()
        self._pending.extend((now, call, use) for call, use in calls)
        self.check()
        # Not redis-py's health check: it reads an answer, and would take one of ours.
        packed = self.connection.pack_commands([call.script.by_name(call.arguments) for call, _ in calls])
        self.connection.send_packed_command(packed, check_health=False)

    def read(self) -> None:
        """Handle every answer that is there. Raises redis.ConnectionError, or what an answer means."""
        while self._pending and self.connection.can_read(0):
            self._read_one()

    def read_all(self) -> None:
        """Wait for every answer; each may take the connection's ``socket_timeout``."""
        while self._pending:
            self._read_one()

    def _read_one(self) -> None:
        try:
            answer = self.connection.read_response()
        except NoScriptError:
            _, call, use = self._pending.popleft()
            self._pending.append((monotonic(), call, use))
            self.connection.send_packed_command(
                self.connection.pack_commands([call.script.whole(call.arguments)]), check_health=False
            )
            return
        except ResponseError as error:
            raise refused(error) from error
        _, call, use = self._pending.popleft()
        use(call.read(answer))

    @property
    def unanswered(self) -> list[Call[Any]]:
        """What the other end may not have heard, in order; of a link that was cut, all that was to be sent since."""
        return [call for _, call, _ in self._pending]

    @property
    def oldest(self) -> float | None:
        """When the oldest call without an answer was sent, by the monotonic clock."""
        return self._pending[0][0] if self._pending else None

    def check(self) -> None:
        """Raises redis.ConnectionError when the link was cut, or an answer is overdue: the other end is gone without a word."""
        if self.connection._sock is None:  # redis-py would connect anew and answer to nobody
            raise redis.ConnectionError("the connection to the broker was cut")
        if self.oldest is not None and monotonic() - self.oldest > self._timeout and not self.connection.can_read(0):
            raise redis.ConnectionError(f"no answer from the broker for {self._timeout:g} s")
