"""From the schedule to the links: messages of different conversations at once, those of one conversation one after the other.

A conversation's next message is sent when the previous one was acknowledged (or given up): two under way at once could
arrive in either order. Neither that nor a slow fleet holds up the schedule: what is due waits here, and its latency runs.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from datetime import timedelta

from loadgen.pacer import Pacer
from loadgen.recorder import Recorder
from loadgen.scenario import Scenario, Utterance
from loadgen.senders import Link, NotAccepted
from shared.clock import monotonic_seconds, utc_now

RETRY_SECONDS = 30.0
"""A message is sent again for this long, which covers a restart of the broker; then it is rejected."""
BACKOFF_SECONDS_MIN = 0.1
BACKOFF_SECONDS_MAX = 2.0
"""Also the most that a server's Retry-After is heeded."""

UNDER_WAY_SECONDS = 15.0
"""What was sent before the end is awaited for this long: a back-off and an answer, each at its longest. Without it a generator
that is behind ends with as many messages of an unknown fate as it has links."""

WAITING_MAX = 500_000
"""Messages due and not yet acknowledged, about 100 MB; more are left unsent and counted."""

BURST_MAX = 500
"""Messages handed out before the event loop runs again: a generator that is late must not starve its own connections."""


class Dispatcher:
    """One run's sending.

    Args:
        scenario: what to send.
        pacer: when.
        recorder: told what happened.
        links: how many there are is how many messages are under way at most.
    """

    def __init__(self, scenario: Scenario, pacer: Pacer, recorder: Recorder, links: Sequence[Link]) -> None:
        self._scenario = scenario
        self._pacer = pacer
        self._recorder = recorder
        self._links = links
        self._ready: asyncio.Queue[Utterance] = asyncio.Queue()
        self._behind: dict[int, deque[Utterance]] = {}  # conversation with a message under way: those that wait for it
        self._waiting = 0
        self._stopped = False
        self._start = 0.0
        self.started_at = utc_now()

    def stop(self) -> None:
        """Send nothing more; what is under way is still awaited."""
        self._stopped = True

    async def run(self) -> None:
        """Send everything on schedule; returns once each message was acknowledged or given up."""
        self._start, self.started_at = monotonic_seconds(), utc_now()
        workers = [asyncio.create_task(self._work(link)) for link in self._links]
        try:
            await self._keep_schedule()
            # What is still waiting gets the time of one retried message, and one that began late gets its own.
            if not await self._ends(workers, 2 * RETRY_SECONDS):
                self.stop()
                await self._ends(workers, UNDER_WAY_SECONDS)
        finally:
            for worker in workers:
                worker.cancel()
            ends = await asyncio.gather(*workers, return_exceptions=True)
        self._recorder.unsent += self._waiting
        for end in ends:
            if not isinstance(end, asyncio.CancelledError):
                raise end if isinstance(end, BaseException) else AssertionError("a worker ends only when it is cancelled")

    async def _ends(self, workers: Sequence[asyncio.Task[None]], within: float) -> bool:
        """Whether nothing waits any more, or a worker failed, ``within`` so many seconds."""
        joined = asyncio.create_task(self._ready.join())
        ended, _ = await asyncio.wait({joined, *workers}, timeout=within, return_when=asyncio.FIRST_COMPLETED)
        joined.cancel()
        return bool(ended)

    async def _keep_schedule(self) -> None:
        stream = self._scenario.stream(self._pacer.planned)
        offered = 0
        while offered < self._pacer.planned and not self._stopped:
            elapsed = monotonic_seconds() - self._start
            due = min(self._pacer.due(elapsed), offered + BURST_MAX)
            if due > offered:
                lag = elapsed - self._pacer.at(offered)
                self._recorder.pacer_lag_seconds_max = max(self._recorder.pacer_lag_seconds_max, lag)
            for _ in range(offered, due):
                self._offer(next(stream))
            offered = due
            if offered < self._pacer.planned:
                await asyncio.sleep(max(0.0, self._pacer.at(offered) - (monotonic_seconds() - self._start)))

    def _offer(self, utterance: Utterance) -> None:
        if self._waiting >= WAITING_MAX:
            self._recorder.unsent += 1
            return
        self._waiting += 1
        behind = self._behind.get(utterance.conversation)
        if behind is None:
            self._behind[utterance.conversation] = deque()
            self._ready.put_nowait(utterance)
        else:
            behind.append(utterance)

    async def _work(self, link: Link) -> None:
        while True:
            utterance = await self._ready.get()
            if not self._stopped:
                self._waiting -= 1
                self._recorder.sent += 1
                await self._deliver(link, utterance)
            behind = self._behind[utterance.conversation]
            if behind:
                self._ready.put_nowait(behind.popleft())
            else:
                del self._behind[utterance.conversation]
            self._ready.task_done()

    async def _deliver(self, link: Link, utterance: Utterance) -> None:
        """Until it is acknowledged, refused for good, or the time is up; always with the same id, so repeating is safe."""
        due = self._pacer.at(utterance.number)
        account = self._scenario.account_of(utterance)
        message = self._scenario.message(utterance, self.started_at + timedelta(seconds=due))
        give_up = monotonic_seconds() + RETRY_SECONDS
        backoff, certain = BACKOFF_SECONDS_MIN, True
        while True:
            try:
                await link.send(account, message)
            except NotAccepted as refusal:
                self._recorder.refusals[refusal.reason] += 1
                certain = certain and refusal.certain
                wait = min(max(refusal.after or 0.0, backoff), BACKOFF_SECONDS_MAX)
                if not refusal.again or self._stopped or monotonic_seconds() + wait > give_up:
                    self._recorder.refused += certain
                    return
                await asyncio.sleep(wait)
                backoff *= 2
            else:
                self._recorder.acknowledged(utterance.number, monotonic_seconds() - self._start - due)
                return
