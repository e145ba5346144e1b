"""Waiting until a fleet has settled what it accepted, or until it makes no progress any more."""

import asyncio

from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout

from loadgen.probe import Probe
from loadgen.progress import Display
from loadgen.recorder import Recorder
from shared.clock import monotonic_seconds

POLL_SECONDS = 0.5
"""Between two looks at how much is settled: one query of about a millisecond."""


class Drain:
    """Looks at what is settled, and shows it.

    Args:
        probe: where to look.
        recorder: what was sent.
        display: where to show.
        patience: seconds without progress after which waiting ends.
    """

    def __init__(self, probe: Probe, recorder: Recorder, display: Display, *, patience: float) -> None:
        self._probe = probe
        self._recorder = recorder
        self._display = display
        self._patience = patience
        self._stopped = False
        self.settled = 0

    def stop(self) -> None:
        """Wait no longer."""
        self._stopped = True

    async def look(self) -> None:
        """Once. A database that does not answer is one that makes no progress: a fleet may be tested through its restart."""
        try:
            self.settled = await asyncio.to_thread(self._probe.settled)
        except (DBAPIError, PoolTimeout):
            self._display.say("the database does not answer; still waiting")
        self._display.show(sent=self._recorder.sent, accepted=self._recorder.accepted_count, settled=self.settled)

    async def until(self, target: int) -> bool:
        """True once ``target`` messages are settled; False when the patience is used up, or waiting was stopped."""
        progress_at = monotonic_seconds()
        while not self._stopped:
            before = self.settled
            await self.look()
            if self.settled >= target:
                return True
            if self.settled != before:
                progress_at = monotonic_seconds()
            elif monotonic_seconds() - progress_at > self._patience:
                return False
            await asyncio.sleep(POLL_SECONDS)
        return False
