"""A kind of cached data: its name, its version, how long a value serves and how much of it a process keeps.

Invalidation, not time, is what makes a change seen; the times here are the net below it, for an invalidation that never came (a
process killed between its commit and its message, a cache that was away).
"""

from dataclasses import dataclass

from shared.settings import settings

KEPT_SECONDS_MAX = 12 * 3600
"""A tag's invalidation is remembered for twice as long (`shared.cache.keys`)."""


@dataclass(frozen=True, slots=True)
class Kind:
    """One kind. Its functions' arguments are strings, its values of one type.

    Args:
        name: unique; the metrics' label `cache`.
        version: of the code that reads and writes the values. Raise it by 1 when their shape or meaning changes: values of
            another version are not seen, and both live side by side during a deploy.
        fresh_seconds: how long a value serves after it was loaded, 0 or more; 0 asks the source each time.
        local_seconds: how long a process serves its copy before it asks Redis for a newer one.
        absent_seconds: the same as ``fresh_seconds`` for "there is none".
        stale_seconds: how much longer a value serves while the source fails.
        entries_max: in each process; as many again for absences.
        bytes_max: encoded bytes in each process.
        jitter: the part of ``fresh_seconds`` that chance takes off, 0 to 1, so that what was loaded together does not end
        together. early: XFetch's beta: above 1 refreshes sooner, 0 never before the end (Vattani et al., VLDB 2015).
        load_seconds_max: a loader silent for so long is taken for dead, and another one loads.
    """

    name: str
    version: int
    fresh_seconds: float
    local_seconds: float
    absent_seconds: float
    stale_seconds: float
    entries_max: int = 10_000
    bytes_max: int = 8 * 2**20
    jitter: float = 0.1
    early: float = 1.0
    load_seconds_max: float = 5.0

    def __post_init__(self) -> None:
        if min(self.fresh_seconds, self.local_seconds, self.absent_seconds, self.stale_seconds) < 0 or not 0 <= self.jitter <= 1:
            raise ValueError(f"{self.name}: times are 0 or more, jitter is from 0 to 1")
        self.checked_ttl(self.fresh_seconds)

    def checked_ttl(self, seconds: float) -> float:
        """``seconds`` for which one value is to be fresh. Raises ValueError for what is no such time.

        Redis keeps a value for ``stale_seconds`` longer, and a change must be remembered as long as what it makes old.
        """
        if seconds < 0:
            raise ValueError(f"{self.name}: fresh for {seconds:g} s; a time is 0 or more")
        if (kept := seconds + self.stale_seconds) > KEPT_SECONDS_MAX:
            raise ValueError(f"{self.name}: kept for {kept:g} s, longer than a tag's invalidation is remembered")
        return seconds


CHANNELS = "channels"
API_KEYS = "api_keys"

LOCAL_SECONDS_MAX = 5.0
"""A process asks Redis for a copy that is newer than its own this often: a command, not a query."""

STALE_SECONDS = 300.0
"""A channel removed or a key rotated just before an outage works for so long; refusing every webhook would be worse."""


def channels() -> Kind:
    """Channels by id: whose it is, its source, its secrets."""
    return _lookup(CHANNELS, version=1)


def api_keys() -> Kind:
    """Accounts' ids by the hash of their API key."""
    return _lookup(API_KEYS, version=1)


def _lookup(name: str, version: int) -> Kind:
    fresh = settings().lookup_seconds
    return Kind(
        name,
        version,
        fresh_seconds=fresh,
        local_seconds=min(fresh, LOCAL_SECONDS_MAX),
        absent_seconds=min(fresh, LOCAL_SECONDS_MAX),  # made-up ids are not worth the room
        stale_seconds=STALE_SECONDS,
    )


KINDS = {CHANNELS: channels, API_KEYS: api_keys}
"""By name."""
