"""What a consumer leaves that could not leave the fleet itself: to the next consumer of its process at the same broker.

A broken link is no death. What children still run stays claimed: a thread keeps the lease, and the next channel goes on under the
same id (`Membership.join`). What was said and perhaps not heard is said again; no such call does anything the second time.
"""

from collections.abc import Sequence
from typing import Any, NamedTuple

from shared.broker.calls import Call
from shared.broker.keeper import Keeper


class Estate(NamedTuple):
    """Of one consumer.

    Args:
        broker: a name that tells brokers apart in this process.
        consumer: its id.
        unsaid: calls about its claims that the broker may not have heard.
        keeper: keeps its lease; None when nothing of it is still worked on.
    """

    broker: str
    consumer: str
    unsaid: Sequence[Call[Any]]
    keeper: Keeper | None


_left: list[Estate] = []


def leave(estate: Estate) -> None:
    """To whoever comes next."""
    _left.append(estate)


def left_at(broker: str) -> list[Estate]:
    """What is there to be taken over."""
    return [estate for estate in _left if estate.broker == broker]


def taken(estate: Estate) -> None:
    """It is taken over, or given back to the broker."""
    if estate.keeper:
        estate.keeper.stop()
    _left.remove(estate)
