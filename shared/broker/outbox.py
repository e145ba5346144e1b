"""What a consumer says of its claims: settled, given back, forwarded, delayed, set aside, running alone.

Acks are gathered; the rest is sent at once, without waiting, over the consumer's wire.
"""

from collections.abc import Callable, Sequence
from time import monotonic
from typing import Any

from shared.broker import calls
from shared.broker.keys import REFUSED, list_of, number_of, queue_of
from shared.broker.lanes import is_single_active
from shared.broker.membership import Membership
from shared.broker.wire import Sending, Wire, ignore

ACKS_MAX = 200
"""Acks that wait for company at most."""


class Outbox:
    """See the module. Everything may raise redis.ConnectionError; after `close` nothing is said any more.

    Args:
        member: whose claims they are.
    """

    def __init__(self, member: Membership) -> None:
        self._member = member
        self.wire: Wire | None = None
        """Without one, calls are run and waited for."""
        self.gathers = False
        """Whether somebody will come for the acks; else each is sent at once."""
        self._acks: list[str] = []
        self._since = 0.0
        self._closed = False

    def settle(self, *tokens: str) -> None:
        """Ack, with the next bulk ack."""
        if self._closed or not tokens:
            return
        if not self._acks:
            self._since = monotonic()
        self._acks.extend(tokens)
        if len(self._acks) >= ACKS_MAX or not self.gathers:
            self.flush()

    def ack_age(self, now: float) -> float | None:
        """Seconds that the oldest ack has waited; None when there is none."""
        return now - self._since if self._acks else None

    def take_acks(self) -> list[Sending]:
        """The acks, to be sent with something else."""
        acks, self._acks = self._acks, []
        return [(call, ignore) for call in self._calls(acks, lambda part: calls.ack(self._member.consumer, part))]

    def flush(self) -> None:
        """Send the acks."""
        if self._acks:
            self.send(self.take_acks())

    def give_back(self, tokens: Sequence[str]) -> None:
        """To the heads of the lists, in order."""
        newest_first = sorted(tokens, key=number_of, reverse=True)  # each call pushes further out than the one before
        self._say(newest_first, lambda part: calls.give_back(self._member.consumer, part))

    def reject(self, token: str, requeue: bool) -> None:
        """A rejected message: a lane's to the head, for order; another's to the tail, so that it blocks nobody."""
        if not requeue:
            self.set_aside(token)
        elif is_single_active(queue_of(token)):
            self.give_back([token])
        else:
            self.forward([(token, list_of(token))])

    def set_aside(self, token: str) -> None:
        """To the list of refused messages."""
        self.forward([(token, REFUSED + queue_of(token))])

    def forward(self, targets: Sequence[tuple[str, str]]) -> None:
        """To the tails of the given lists, in this order."""
        self._say(targets, lambda part: calls.forward(self._member.consumer, part))

    def delay(self, token: str, *, until_ms: int | None = None, for_ms: int = 0) -> None:
        """To the tail of its list when it is due."""
        self._say([token], lambda part: calls.delay(self._member.consumer, part[0], until_ms=until_ms, for_ms=for_ms))

    def mark_alone(self, tokens: Sequence[str]) -> None:
        """Each runs in a batch of its own."""
        self._say(tokens, lambda part: calls.mark_alone(self._member.consumer, part))

    def send(self, sendings: list[Sending]) -> None:
        """Send calls, or run them."""
        if self._closed:
            return
        if self.wire is not None:
            self.wire.send(sendings)
        else:
            for call, use in sendings:
                use(self._member.claims.run(call))

    def close(self) -> list[calls.Call[Any]]:
        """Say nothing any more. Returns what the broker may not have heard of claims, in order; said again, it does nothing."""
        self._closed = True
        said = self.wire.unanswered if self.wire is not None else []
        return [call for call in said if call.script in calls.OF_CLAIMS] + [call for call, _ in self.take_acks()]

    def _say(self, items: Sequence[Any], call: Callable[[Sequence[Any]], calls.Call[Any]]) -> None:
        self.send([(each, ignore) for each in self._calls(items, call)])

    @staticmethod
    def _calls(items: Sequence[Any], call: Callable[[Sequence[Any]], calls.Call[Any]]) -> list[calls.Call[Any]]:
        return [call(items[start : start + calls.TOKENS_MAX]) for start in range(0, len(items), calls.TOKENS_MAX)]
