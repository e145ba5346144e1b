"""What a consumer says of itself, so that another thread can hold it against what waits in the broker."""

from typing import NamedTuple


class Standing(NamedTuple):
    """A consumer at one moment.

    Args:
        consumer: its id; empty while it has no lease.
        queues: it is to claim from these.
        held: it holds messages of these.
        has_room: its credit, in messages and in bytes, allows another claim.
    """

    consumer: str
    queues: frozenset[str]
    held: frozenset[str]
    has_room: bool
