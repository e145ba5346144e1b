"""What became of one message: a closed set. A batch handler returns one outcome per message."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Done:
    """Its effect is committed."""


@dataclass(frozen=True, slots=True)
class Retry:
    """Try it again later.

    Args:
        after: seconds to wait, 0 or more; a lane stands still meanwhile, for 10 s in all at most.
        reason: why, without the message's content.
    """

    after: float
    reason: str = "retry"


@dataclass(frozen=True, slots=True)
class Discard:
    """There is nothing to do with it, and that is no fault: an event type nobody handles, for instance."""

    reason: str


@dataclass(frozen=True, slots=True)
class DeadLetter:
    """It will never succeed as it is; keep it whole with its history until an operator decides."""

    reason: str


Outcome = Done | Retry | Discard | DeadLetter
