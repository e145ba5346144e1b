"""`store.prune`: beat's task that deletes messages older than `retention_days`. Off by default.

It may run at any time, twice or never: what it finds old enough it deletes, a bounded batch and a transaction at a time.
"""

from functools import partial

from shared.clock import monotonic_seconds
from shared.db.session import transact
from shared.log import get_logger
from shared.metrics import PRUNED
from shared.schedule import STORE_PRUNE
from shared.settings import settings
from shared.store import retention
from tasks.tick import periodic

SECONDS_MAX = 5.0
"""Of one run: a child that prunes stores nothing meanwhile. A run a minute deletes more than a fleet stores by the day."""

logger = get_logger(__name__)


@periodic(STORE_PRUNE)
def prune() -> int:
    """Delete what is old, for SECONDS_MAX at most; returns how many messages went."""
    return pruned(days=settings().retention_days)


def pruned(*, days: int, rows: int = retention.ROWS_AT_ONCE, seconds_max: float = SECONDS_MAX) -> int:
    """Delete messages stored more than ``days`` days ago, ``rows`` at a time; 0 days: none. Returns how many went."""
    if days == 0:
        return 0
    started, gone = monotonic_seconds(), 0
    after: int | None = 0
    while after is not None and monotonic_seconds() - started < seconds_max:
        step = partial(retention.prune, days=days, after=after, rows=rows)
        batch = transact(step)
        gone, after = gone + batch.gone, batch.next_after
        PRUNED.labels("messages").inc(batch.gone)
    if gone:
        logger.info("messages pruned", messages=gone, days=days, more=after is not None)
    return gone
