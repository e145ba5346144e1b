"""What a channel has delivered and not settled: the credit, in messages and bytes."""

# Kombu is typed in part.
# mypy: disable-error-code="no-untyped-call"

from collections.abc import Mapping
from typing import Any

from kombu.transport import virtual

WINDOW_MAX = 10_000
"""Messages in flight where the prefetch count says "no limit"."""


class QoS(virtual.QoS):
    """Kombu's ``prefetch_count`` over claims: a delivery tag is a claim's token."""

    def __init__(self, channel: Any, prefetch_count: int = 0) -> None:
        super().__init__(channel, prefetch_count)
        self.sizes: dict[str, int] = {}
        """Token -> bytes of payload, of what is delivered and not settled."""

    @property
    def window(self) -> int:
        """Messages that may be in flight."""
        return self.prefetch_count or WINDOW_MAX

    @property
    def credit(self) -> int:
        """Messages that may be claimed on top; negative after the prefetch count was reduced."""
        return self.window - len(self._delivered)

    def can_consume(self) -> bool:
        return self.credit > 0

    def append(self, message: Any, delivery_tag: str) -> None:
        self._delivered[delivery_tag] = message

    def adopt(self, sizes: Mapping[str, int]) -> None:
        """Messages that a predecessor delivered, with their sizes: they are in the window, and can be settled."""
        self.sizes.update(sizes)
        self._delivered.update(dict.fromkeys(sizes))

    def forget(self, delivery_tag: str) -> bool:
        """Take a message out of the window; whether it was in it."""
        self.sizes.pop(delivery_tag, None)
        delivered = delivery_tag in self._delivered
        self._delivered.pop(delivery_tag, None)
        return delivered

    def ack(self, delivery_tag: str) -> None:
        """Settle, with the next bulk ack. A message that was not delivered by this channel is left alone."""
        if self.forget(delivery_tag):
            self.channel.claimer.outbox.settle(delivery_tag)

    def reject(self, delivery_tag: str, requeue: bool = False) -> None:
        """Give back, or set aside: what is rejected does not vanish."""
        if self.forget(delivery_tag):
            self.channel.claimer.outbox.reject(delivery_tag, requeue)

    def restore_unacked(self) -> list[Any]:
        self.channel.give_back(list(self._delivered))
        return []

    def restore_unacked_once(self, stderr: Any = None) -> None:
        self._on_collect.cancel()
        self.channel.retire()
