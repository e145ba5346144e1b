"""A consumer's place in the fleet: its id, its lease, the single-active queues that are its own."""

import os
import socket
from collections.abc import Collection, Iterable, Sequence
from typing import Any
from uuid import uuid4

import redis

from shared.broker import estate as estates
from shared.broker.calls import Call, Claim, LeaseLost
from shared.broker.claims import Claims
from shared.broker.estate import Estate
from shared.broker.keeper import Keeper
from shared.broker.lanes import assigned


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
        self._keeper: Keeper | None = None

    def join(self, single_active: Iterable[str], working: Collection[str] = ()) -> frozenset[str]:
        """Start the lease, or change which single-active queues are read. Raises ConfigurationError, redis.RedisError.

        Args:
            single_active: the queues.
            working: tokens of a predecessor in this process that are still worked on.

        Returns those of ``working`` that are still claimed, now by this consumer: it goes on under the predecessor's id.
        """
        queues = list(single_active)
        kept = frozenset[str]()
        for estate in estates.left_at(self._broker):
            kept |= self._take_over(estate, working)
            estates.taken(estate)
        consumer = self.consumer or f"{socket.gethostname()}:{os.getpid()}:{uuid4().hex[:12]}"
        self.claims.join(consumer, self.lease_ms, lanes=self._lanes if queues else 0, single_active=queues)
        self.consumer = consumer
        self._look()
        return kept

    def _take_over(self, estate: Estate, working: Collection[str]) -> frozenset[str]:
        for call in estate.unsaid:
            self.claims.run(call)
        held = self.claims.held(estate.consumer)
        kept = held.intersection(working)
        if not kept or self.consumer or not self._renewed(estate.consumer):
            self.claims.leave(estate.consumer)
            return frozenset()
        self.claims.give_back(estate.consumer, list(held - kept))
        self.consumer = estate.consumer
        return kept

    def _renewed(self, consumer: str) -> bool:
        try:
            self.claims.renew(consumer, self.lease_ms)
        except LeaseLost:
            return False
        return True

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

    def take_one(self, lists: Iterable[tuple[str, bool]]) -> Claim | None:
        """Claim one message, as a member of no queue if need be; see `calls.claim`."""
        if not self.consumer:
            self.join([])
            self.keep()
        return next(iter(self.claims.claim(self.consumer, lists, 1).messages), None)

    def keep(self) -> None:
        """Renew the lease from a thread from now on: the worker stops, and nobody turns its event loop while it waits for
        its children. Ends by `release`, or see `Keeper`."""
        if self._keeper is None:
            self._keeper = Keeper(self.claims, self.consumer, self.lease_ms).start()

    def release(self) -> None:
        """End what `keep` began."""
        if self._keeper:
            self._keeper.stop()
        self._keeper = None

    def leave(self, unsaid: Sequence[Call[Any]] = (), *, keep: bool = False) -> None:
        """Say what is unsaid, give every claim back and end the lease; when the broker is not reachable, see `bequeath`."""
        self.release()
        if self.consumer:
            try:
                for call in unsaid:
                    self.claims.run(call)
                self.claims.leave(self.consumer)
            except redis.RedisError:
                self.bequeath(unsaid, keep=keep)
            self.consumer = ""

    def bequeath(self, unsaid: Sequence[Call[Any]], *, keep: bool) -> None:
        """Leave the place to the process's next consumer; ``keep`` the lease until it comes, from `closed` on."""
        self.release()
        if self.consumer:
            self._keeper = Keeper(self.claims, self.consumer, self.lease_ms) if keep else None
            estates.leave(Estate(self._broker, self.consumer, unsaid, self._keeper))
            self.consumer = ""

    def closed(self) -> None:
        """The channel has ended its connections."""
        if self._keeper:
            self._keeper.start()
            self._keeper = None
