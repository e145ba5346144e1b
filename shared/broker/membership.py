"""A consumer's place in the fleet: its id, its lease, the single-active queues that are its own."""

import os
import socket
from collections.abc import Iterable
from threading import Event, Thread
from time import monotonic
from uuid import uuid4

import redis

from shared.broker.calls import LeaseLost
from shared.broker.claims import Claims
from shared.broker.lanes import assigned
from shared.log import get_logger

log = get_logger(__name__)

KEEP_SECONDS_MAX = 600
"""A stopping worker's lease is kept this long while its children finish: no batch may run longer."""

_abandoned: list[tuple[str, str]] = []
"""Broker and id of consumers of this process that could not leave, the broker being away; the next to join there does it."""


class Membership:
    """See the module.

    Args:
        claims: the broker's.
        lease_seconds: without a renewal for this long, the consumer counts as dead.
        lanes: the fleet's number of lanes; 0 for a consumer of none.
        broker: a name that tells brokers apart in this process.
    """

    def __init__(self, claims: Claims, lease_seconds: float, lanes: int, broker: str) -> None:
        self.claims = claims
        self.consumer = ""
        """Empty until the first `join`."""
        self.mine: frozenset[str] = frozenset()
        """The single-active queues to claim from."""
        self.lease_ms = int(lease_seconds * 1000)
        self._lanes = lanes
        self._broker = broker
        self._epoch = 0
        self._kept = Event()
        self._keeper: Thread | None = None

    def join(self, single_active: Iterable[str]) -> None:
        """Start the lease, or change which single-active queues are read. Raises ConfigurationError, redis.RedisError."""
        queues = list(single_active)
        for broker, consumer in list(_abandoned):
            if broker == self._broker:
                self.claims.leave(consumer)
                _abandoned.remove((broker, consumer))
        consumer = self.consumer or f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}"
        self.claims.join(consumer, self.lease_ms, lanes=self._lanes if queues else 0, single_active=queues)
        self.consumer = consumer
        self._look()

    def refresh(self, epoch: int) -> bool:
        """Look again at who shares the lanes, when ``epoch`` is not the one last seen. Whether it was not."""
        if epoch == self._epoch:
            return False
        self._look()
        return True

    def _look(self) -> None:
        members = self.claims.members()
        self._epoch = members.epoch
        self.mine = assigned(self.consumer, members.single_active)

    def keep(self) -> None:
        """Renew the lease from a thread from now on: the worker stops, and nobody turns its event loop while it waits for
        its children. Ends after KEEP_SECONDS_MAX, or by `release`."""
        if self._keeper is None:
            self._kept.clear()
            self._keeper = Thread(target=self._keep, name="headrace-lease", daemon=True)
            self._keeper.start()

    def _keep(self) -> None:
        until = monotonic() + KEEP_SECONDS_MAX
        while not self._kept.wait(self.lease_ms / 3000) and monotonic() < until:
            try:
                self.claims.renew(self.consumer, self.lease_ms)
            except LeaseLost:
                return
            except redis.RedisError as error:
                log.warning("lease not renewed", error=type(error).__name__)

    def release(self) -> None:
        """End what `keep` began."""
        self._kept.set()
        self._keeper = None

    def leave(self, reachable: bool) -> None:
        """Give every claim back and end the lease; when the broker is not reachable, the process's next consumer does it."""
        self.release()
        if self.consumer:
            try:
                if not reachable:
                    raise redis.ConnectionError
                self.claims.leave(self.consumer)
            except redis.RedisError:
                _abandoned.append((self._broker, self.consumer))
            self.consumer = ""
