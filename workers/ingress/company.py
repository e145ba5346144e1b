"""Whether an account has the fleet to itself. Pure: time is passed in, monotonic seconds."""

import math

COMPANY_SECONDS = 5.0
"""Who sent nothing for this long is not delayed by anybody now."""


class Company:
    """The last two accounts that put something in, and when: enough to tell of each whether another one is there."""

    def __init__(self) -> None:
        self._last = self._other = ""
        self._last_at = self._other_at = -math.inf

    def came(self, account_id: str, now: float) -> None:
        """The account put something in."""
        if account_id != self._last:
            self._other, self._other_at = self._last, self._last_at
            self._last = account_id
        self._last_at = now

    def has(self, account_id: str, now: float) -> bool:
        """Whether another account than this one came within `COMPANY_SECONDS`."""
        at = self._other_at if account_id == self._last else self._last_at
        return now - at < COMPANY_SECONDS
