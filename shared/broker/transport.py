"""The kombu transport: Celery's way to the broker, with claims instead of pops. See docs/broker.md.

`install` puts it in the place of kombu's own for ``redis://``, ``rediss://``, ``redis+socket://`` and ``sentinel://``: by
scheme, because kombu reads TLS and Sentinel options from a scheme, and takes a transport from it again at every failover.
"""

# Kombu is typed in part.
# mypy: disable-error-code="no-untyped-call,assignment,union-attr"

from queue import Empty
from time import monotonic
from typing import Any

from kombu import transport as kombu_transport
from kombu.transport import redis as kombu_redis

from shared.broker.channel import Channel, SentinelChannel

TICK_SECONDS_MAX = 0.25
"""The event loop comes round at least this often, so that leases and looks are on time."""


class Poller(kombu_redis.MultiChannelPoller):
    """Kombu's poller without its pauses: a channel takes no more than it has credit for, and reads all its answers."""

    def __init__(self) -> None:
        super().__init__()
        self.loop: Any = None
        self._alarm_at = float("inf")

    def alarm(self, seconds: float) -> None:
        """Have the channels' ticks called again in ``seconds`` at the latest."""
        at = monotonic() + seconds
        if at < self._alarm_at:
            self._alarm_at = at
            if self.loop is not None:
                self.loop.call_later(seconds, self.ring)

    def ring(self) -> None:
        """What the alarm calls; the tick follows."""
        self._alarm_at = float("inf")

    def on_poll_init(self, poller: Any) -> None:
        self.poller = poller

    def maybe_restore_messages(self) -> None:
        """Leases do this."""

    def on_poll_start(self) -> None:
        if monotonic() >= self._alarm_at:
            self.ring()
        for channel in list(self._channels):
            channel.claimer.tick()
            if channel.active_fanout_queues:
                self._register_LISTEN(channel)

    def on_readable(self, fileno: int) -> Any:
        channel, kind = self._fd_to_chan.get(fileno, (None, None))
        return channel.handlers[kind]() if channel is not None else None

    def handle_event(self, fileno: int, event: int) -> Any:
        return self.on_readable(fileno)

    def get(self, callback: Any, timeout: float | None = None) -> None:
        """One round without an event loop. Raises Empty when it delivered nothing."""
        self._in_protected_read = True
        try:
            self.maybe_refresh_binding_expiry()
            self.on_poll_start()
            wait = min(timeout if timeout is not None else 1.0, TICK_SECONDS_MAX, max(0.0, self._alarm_at - monotonic()))
            delivered = [self.handle_event(fileno, event) for fileno, event in self.poller.poll(wait) or ()]
            if not any(delivered):
                raise Empty
        finally:
            self._in_protected_read = False
            while self.after_read:
                self.after_read.pop()()


class Transport(kombu_redis.Transport):
    """For one Redis."""

    Channel = Channel

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.cycle = Poller()

    def register_with_event_loop(self, connection: Any, loop: Any) -> None:
        super().register_with_event_loop(connection, loop)
        self.cycle.loop = loop
        loop.call_repeatedly(TICK_SECONDS_MAX, self.cycle.ring)


class SentinelTransport(Transport):
    """For a master that Sentinels know."""

    Channel = SentinelChannel
    default_port = kombu_redis.SentinelTransport.default_port


def install() -> None:
    """Use this transport in this process for every broker URL that kombu's Redis transport would serve."""
    plain, sentinel = (f"{__name__}:{name.__name__}" for name in (Transport, SentinelTransport))
    kombu_transport.TRANSPORT_ALIASES.update(redis=plain, rediss=plain, sentinel=sentinel)
    for scheme in ("redis", "rediss", "sentinel"):
        kombu_transport._transport_cache.pop(scheme, None)
