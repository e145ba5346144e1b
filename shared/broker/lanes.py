"""Lanes: which queues have a single active consumer, and which of them are this consumer's.

Safety is the claim script's: a single-active queue is closed while another consumer holds a claim of it. What is decided here
only spreads the work, so two consumers that disagree for a moment may wait for each other and never reorder anything.
"""

from collections.abc import Mapping
from functools import cache

from shared.topology import MESSAGES, lane_number


@cache
def is_single_active(queue: str) -> bool:
    """Whether order matters in ``queue``: a lane, or the plain producers' ``messages``."""
    return queue == MESSAGES or lane_number(queue) is not None


def assigned(consumer: str, members: Mapping[str, frozenset[str]]) -> frozenset[str]:
    """The single-active queues that ``consumer`` is to claim from.

    Lane i goes to the (i mod n)-th of the n consumers that read it, by id: spread as evenly as can be, the same in every
    process that sees the same members. ``messages`` goes to the last, who has the fewest lanes.

    Args:
        consumer: its id.
        members: consumer id -> the single-active queues it reads.
    """
    mine = set()
    for queue in members.get(consumer, ()):
        readers = sorted(member for member, queues in members.items() if queue in queues)
        lane = lane_number(queue)
        if readers[-1 if lane is None else lane % len(readers)] == consumer:
            mine.add(queue)
    return frozenset(mine)
