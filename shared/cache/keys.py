"""Every key and channel in the cache's Redis. A value and its lease share a hash tag, so that a Cluster keeps them together."""

from shared.cache.kind import KEPT_SECONDS_MAX, Kind

PREFIX = "headrace:cache:"
CHANGED = "headrace:cache:changed"
"""Channel: what was changed, as JSON (`shared.cache.change`)."""
CHANGED_AGAIN_MS = 2 * KEPT_SECONDS_MAX * 1000
"""A tag's stamp is kept for a day: longer than any value."""


def value(kind: Kind, key: str) -> str:
    """Where a value stands."""
    return _value(kind, kind.version, key)


def values_of_all_versions(kind: Kind, key: str) -> list[str]:
    """This code's value and its neighbours': during a deploy old and new run side by side, and a change concerns both."""
    return [_value(kind, version, key) for version in (kind.version - 1, kind.version, kind.version + 1)]


def all_of(kind_name: str) -> str:
    """A pattern that matches all values and leases of a kind, and nothing else."""
    return f"{PREFIX}{{{kind_name}:*"


def lease(value_name: str) -> str:
    """Where the one who loads a value leaves his mark."""
    return value_name + ":lease"


def tag(name: str) -> str:
    """Where a tag's last invalidation stands, in microseconds of the server's clock."""
    return f"{PREFIX}tag:{name}"


def usage(kind_name: str, hour: int) -> str:
    """Where the reads of an hour are counted."""
    return f"{PREFIX}usage:{kind_name}:{hour}"


def _value(kind: Kind, version: int, key: str) -> str:
    # The part in braces is the whole name: a brace inside of a sender's id cannot move a lease away from its value.
    return f"{PREFIX}{{{kind.name}:{version}:{key}}}"
