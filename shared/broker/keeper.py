"""Keeps a lease while nobody turns the event loop: a worker waits for its children to stop, or makes a broken link anew."""

from threading import Event, Thread
from time import monotonic

import redis

from shared.broker.calls import LeaseLost
from shared.broker.claims import Claims
from shared.log import get_logger

log = get_logger(__name__)

KEEP_SECONDS_MAX = 600
"""A lease is kept this long at most: no batch may run longer."""


class Keeper:
    """A thread that renews at once and then each third of a lease, until `stop`, KEEP_SECONDS_MAX, or the lease is lost.

    Args:
        claims: the broker's; a broker that is away is asked again.
        consumer: whose lease.
        lease_ms: its length.
    """

    def __init__(self, claims: Claims, consumer: str, lease_ms: int) -> None:
        self._claims = claims
        self._consumer = consumer
        self._lease_ms = lease_ms
        self._over = Event()

    def start(self) -> "Keeper":
        """From now on. Nothing else may end the client's connections meanwhile."""
        Thread(target=self._keep, name="headrace-lease", daemon=True).start()
        return self

    def _keep(self) -> None:
        until = monotonic() + KEEP_SECONDS_MAX
        while not self._over.is_set() and monotonic() < until:
            try:
                self._claims.renew(self._consumer, self._lease_ms)
            except LeaseLost:
                return
            except redis.RedisError as error:
                log.warning("lease not renewed", error=type(error).__name__)
            self._over.wait(self._lease_ms / 3000)

    def stop(self) -> None:
        """Renew no more."""
        self._over.set()
