"""How much of each account waits, estimated from how deep the lanes are and from what this ingress put into them.

A lane is first in, first out. So when D messages are in it, waiting or claimed, at most the last D that this ingress put there
are among them, and all before these are settled. The log of a lane is cut to that at each look at the depths; an account's
backlog is what the logs still hold of it. Nothing is counted up and down across processes, so nothing can drift: a lane that is
found empty empties its log, whatever happened before.

With one ingress that is the truth of a moment ago, and never less. Where others fill the lane too (another ingress, plain
producers) nobody can tell whose messages wait; the account's share of what came through here stands for its share of the lane,
and what is older than `SHARED_SECONDS_MAX` is forgotten, so that who sends little is not held to have sent a deep lane's content.

Pure: time is passed in, monotonic seconds.
"""

from collections import Counter, deque
from collections.abc import Mapping
from dataclasses import dataclass

RUNS_OF_A_LANE_MAX = 1_000
"""Runs in a lane's log, some 150 bytes each: 10 MB if all lanes of both kinds were full. Beyond it the oldest is forgotten."""

RUN_SECONDS_MAX = 1.0
"""What one account puts into a lane in this time, with nobody between, is one run."""

SHARED_SECONDS_MAX = 60.0
"""In a lane that others fill too: an account that sends less than its bound in this time is never refused for what they sent."""


@dataclass(slots=True)
class Run:
    """Messages of one account that follow each other in a lane; ``at``: when the first was put there."""

    account_id: str
    count: int
    at: float


class Backlog:
    """The logs of all lanes."""

    def __init__(self) -> None:
        self._logs: dict[str, deque[Run]] = {}
        self._sizes: Counter[str] = Counter()  # lane -> messages in its log
        self._of: Counter[str] = Counter()  # account -> messages in all logs
        self._since: Counter[str] = Counter()  # lane -> messages put there since the depths were asked for

    def of(self, account_id: str) -> int:
        """The account's messages that may still be in the lanes."""
        return self._of[account_id]

    def put(self, account_id: str, lanes: Mapping[str, int], now: float) -> None:
        """The broker has confirmed so many messages of the account in each of ``lanes``."""
        for lane, count in lanes.items():
            log = self._logs.setdefault(lane, deque())
            if log and log[-1].account_id == account_id and now - log[-1].at < RUN_SECONDS_MAX:
                log[-1].count += count
            else:
                log.append(Run(account_id, count, now))
            self._sizes[lane] += count
            self._since[lane] += count
            self._of[account_id] += count
            if len(log) > RUNS_OF_A_LANE_MAX:
                self._forget(lane, log[0].count)

    def asked(self) -> None:
        """The depths are being asked for: what is confirmed from now on may not be among them."""
        self._since.clear()

    def total(self) -> int:
        """Messages of all accounts."""
        return self._of.total()

    def told(self, depths: Mapping[str, int], unconfirmed: int, now: float) -> None:
        """The answer: cut each log to what may still be there.

        Args:
            depths: lane -> messages waiting or claimed at some moment since `asked`; a lane that is missing is empty.
            unconfirmed: messages that this ingress is writing; some may be in the depths.
            now: see the module.
        """
        for lane, log in list(self._logs.items()):
            depth = depths.get(lane, 0)
            shared = depth > self._sizes[lane] + unconfirmed
            self._forget(lane, self._sizes[lane] - depth - self._since[lane])
            while shared and log and now - log[0].at > SHARED_SECONDS_MAX:
                self._forget(lane, log[0].count)
            if not log:
                del self._logs[lane], self._sizes[lane]

    def wait_seconds(self, account_id: str, now: float) -> float:
        """How long the account's oldest message has been in its lane: about as long as its newest will be."""
        firsts = (next((run.at for run in log if run.account_id == account_id), now) for log in self._logs.values())
        return now - min(firsts, default=now)

    def _forget(self, lane: str, count: int) -> None:
        """The oldest ``count`` messages of a lane's log are no longer of interest; none when it is negative."""
        log = self._logs[lane]
        while log and count > 0:
            first = log[0]
            gone = min(count, first.count)
            first.count -= gone
            count -= gone
            self._sizes[lane] -= gone
            self._of[first.account_id] -= gone
            if not self._of[first.account_id]:
                del self._of[first.account_id]
            if not first.count:
                log.popleft()
