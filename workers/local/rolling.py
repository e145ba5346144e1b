"""A rolling restart: each process in turn gets a new child; the next one's turn comes once that is ready and the old one gone.

It stops at the first that does not come up: then that one's old child goes on where it can, and all that follow are untouched.
"""

from collections.abc import Sequence

from shared.clock import monotonic_seconds
from workers.local.control import Restart
from workers.local.member import RENEWAL_SECONDS_MAX, Member
from workers.local.record import RestartRecord


class Rolling:
    """One rolling restart.

    Args:
        request: what was asked.
        members: whose turn comes, in order.
    """

    def __init__(self, request: Restart, members: Sequence[Member]) -> None:
        self.record = RestartRecord(request.id, "running")
        self._left = list(members)
        self._now: Member | None = None
        self._until = 0.0

    @property
    def over(self) -> bool:
        """Nothing more will be done."""
        return self.record.state != "running"

    def look(self) -> bool:
        """Go on; True when something changed."""
        if self.over:
            return False
        if self._now:
            if self._now.renewal_failed or (not self._now.gone and monotonic_seconds() > self._until):
                self.record = RestartRecord(self.record.id, "failed", self._failure(self._now))
                return True
            if not (self._now.settled or self._now.gone):
                return False
        self._now = next((member for member in self._left if not member.dismissed), None)
        if self._now is None:
            self.record = RestartRecord(self.record.id, "done")
            return True
        self._left = self._left[self._left.index(self._now) + 1 :]
        self._now.renew()
        self._until = monotonic_seconds() + RENEWAL_SECONDS_MAX + 2 * self._now.program.stop_seconds
        self.record = RestartRecord(self.record.id, "running", self._now.program.name)
        return True

    @staticmethod
    def _failure(member: Member) -> str:
        still = "; the old one goes on" if member.child else ""
        return f"{member.program.name} did not become ready{still}; see {member.log}"
