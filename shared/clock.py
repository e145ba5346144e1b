"""Time, in one place. Wall clock for what is stored and sent, monotonic for durations; leases use the server's clock."""

import time
from datetime import UTC, datetime

wall_seconds = time.time
monotonic_seconds = time.monotonic


def utc_now() -> datetime:
    """Now, with the UTC zone attached."""
    return datetime.now(UTC)


def from_epoch(seconds: float) -> datetime:
    """A wall-clock instant from seconds since 1970."""
    return datetime.fromtimestamp(seconds, UTC)
