"""Why an idle consumer looks again at once: a producer of ours said so, or the watched list is no longer empty.

Both are hints. What is missed (a cut link, a full Redis, a stock producer writing straight to a lane) the consumer's regular
look finds, so a failure here is never raised: the hint is set up again at a later tick.
"""

# Kombu is typed in part.
# mypy: disable-error-code="no-untyped-call"

from time import monotonic
from typing import TYPE_CHECKING, Any

import redis

from shared.broker.keys import WAKE

if TYPE_CHECKING:
    from shared.broker.channel import Channel

WATCH_SECONDS = 10
"""How long one BLMOVE waits in the server."""
ANSWER_SECONDS = 5
"""How much later its answer, or that to a PING, may come before the link counts as dead."""
PING_SECONDS = 10
"""How often the listening link is tried."""


class Waiting:
    """The two links of one channel.

    Args:
        channel: whose; its poller watches the sockets and has `heard` and `moved` called.
    """

    def __init__(self, channel: "Channel") -> None:
        self._channel = channel
        self._listener = channel._create_client(asynchronous=True)
        self._watcher = channel._create_client(asynchronous=True)
        self._pinged_at = self._heard_at = self._watching_since = 0.0
        self._watching = False
        self._watched: str | None = None

    def listen(self) -> None:
        """Keep the subscription up."""
        now = monotonic()
        try:
            if self._open(self._listener, "WAKE"):
                self._listener.connection.send_command("SUBSCRIBE", WAKE, check_health=False)
                self._pinged_at = self._heard_at = now
            elif self._pinged_at - self._heard_at > 0 and now - self._pinged_at > ANSWER_SECONDS:
                self._drop(self._listener)
            elif now - max(self._pinged_at, self._heard_at) > PING_SECONDS:
                self._listener.connection.send_command("PING", check_health=False)
                self._pinged_at = now
        except redis.RedisError:
            self._drop(self._listener)

    def watch(self, name: str | None) -> None:
        """Wait in the server until the list is not empty; nothing is removed. One wait at a time: another list ends the last."""
        try:
            overdue = self._watching and monotonic() - self._watching_since > WATCH_SECONDS + ANSWER_SECONDS
            if name != self._watched or overdue:
                self._drop(self._watcher)
            self._watched = name
            if name is None:
                return
            if self._open(self._watcher, "WATCH"):
                self._watching = False
            if not self._watching:
                # One element moves from the right end to the right end: the list stays as it is.
                self._watcher.connection.send_command("BLMOVE", name, name, "RIGHT", "RIGHT", WATCH_SECONDS, check_health=False)
                self._watching, self._watching_since = True, monotonic()
        except redis.RedisError:
            self._drop(self._watcher)

    def heard(self, names: list[bytes]) -> bool:
        """Read what producers said, unparsed. Whether it names one of these queues."""
        try:
            said = self._listener.connection._sock.recv(65536)
        except (OSError, AttributeError):
            said = b""
        if not said:
            self._drop(self._listener)
            return False
        self._heard_at = monotonic()
        return any(name in said for name in names)

    def moved(self) -> bool:
        """Read the watch's answer. Whether the list has something."""
        self._watching = False
        try:
            return self._watcher.connection.read_response() is not None
        except redis.ResponseError:  # Redis is full: only the regular look is left
            return False
        except redis.RedisError:
            self._drop(self._watcher)
            return False

    def close(self) -> None:
        """Close both links."""
        for client in (self._listener, self._watcher):
            self._drop(client)
            client.connection = None

    @staticmethod
    def _drop(client: Any) -> None:
        """End a link, to be made anew at a later tick. There is none when the server refused it."""
        if client.connection is not None:
            client.connection.disconnect()

    def _open(self, client: Any, kind: str) -> bool:
        """Connect and have the socket watched; whether that was needed."""
        poller = self._channel.connection.cycle
        if poller._client_registered(self._channel, client, kind):
            return False
        poller._register(self._channel, client, kind)
        return True
