"""How many messages an account may have on their way while others send: the setting's, fewer while the fleet is slow.

What is promised is time: who sends little must not wait long behind who sends much. How many messages that is depends on the
fleet, its machine and its database. So when more waits than was settled in the last half second, twice in a row, the bound is
lowered to what was settled; while less than half of that waits it doubles, each half second, until it is the setting's again.

A fleet that settles nothing is out, not slow: then the bound stays, because nobody is served sooner by refusing somebody.

Pure: time is passed in, monotonic seconds.
"""

DRAIN_SECONDS = 0.5
"""Half of what the others may wait at p95 (1 s): the rest is for their own way through a batch."""

MEASURE_SECONDS = 0.5
"""At the least: several batches, so that one of them makes no rate."""

PAUSE_SECONDS_MAX = 2.0
"""A measurement that took longer had looks missing, or the fleet was out: it says nothing."""

MESSAGES_MIN = 200
"""A worker's half batch: less would leave its children idle between two looks."""


class Bound:
    """Args: messages_max: the bound while the fleet keeps up."""

    def __init__(self, messages_max: int) -> None:
        self.messages = messages_max
        self._messages_max = messages_max
        self._settled = 0
        self._since = 0.0
        self._behind = False

    def observe(self, settled: int, waiting: int, now: float) -> None:
        """A look found so many messages settled since the last look, and so many on their way, of all accounts."""
        self._settled += settled
        seconds = now - self._since
        if seconds <= PAUSE_SECONDS_MAX and (seconds < MEASURE_SECONDS or not self._settled):
            return
        if seconds <= PAUSE_SECONDS_MAX:
            self._judge(DRAIN_SECONDS * self._settled / seconds, waiting)
        self._settled, self._since = 0, now

    def _judge(self, drained: float, waiting: int) -> None:
        was_behind, self._behind = self._behind, waiting > drained
        if self._behind and was_behind:
            self.messages = min(self._messages_max, max(MESSAGES_MIN, int(drained)))
        elif waiting <= drained / 2:  # not "less than all": a bound that just works would be given up again
            self.messages = min(self._messages_max, 2 * self.messages)
