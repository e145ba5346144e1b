"""A circuit breaker: a dependency that is dead costs one time-out, not one a call.

Closed, every call goes through. After ``failures`` failed calls in a row it opens, and nobody asks the dependency for
``open_seconds``. Then it is half open: one call is let through as a probe. When that succeeds all is well again; when it fails,
or does not come back within ``open_seconds``, the next pause begins. (Nygard, Release It!, 2007.)

It decides and counts and does nothing else: the caller asks `allows`, makes its call, and reports `succeeded` or `failed`.
"""

import threading
from collections.abc import Callable
from enum import IntEnum

from shared.clock import monotonic_seconds
from shared.metrics import BREAKER_STATE


class State(IntEnum):
    """The numbers are the values of `headrace_breaker_state`."""

    CLOSED = 0
    HALF_OPEN = 1
    OPEN = 2


class Breaker:
    """Thread-safe; each process has its own, so each finds out for itself.

    Args:
        target: what is behind it; the metric's label.
        failures: failed calls in a row that open it, 1 or more.
        open_seconds: how long nobody asks, above 0; also how long a probe may take before another one is let through.
        clock: monotonic seconds.
    """

    def __init__(
        self, target: str, *, failures: int, open_seconds: float, clock: Callable[[], float] = monotonic_seconds
    ) -> None:
        if failures < 1 or open_seconds <= 0:
            raise ValueError("a breaker opens after 1 failure or more, and for more than 0 seconds")
        self.target = target
        self._failures_max = failures
        self._open_seconds = open_seconds
        self._clock = clock
        self._lock = threading.Lock()
        self._failures = 0
        self._state = State.CLOSED
        self._since = 0.0
        self._gauge = BREAKER_STATE.labels(target)

    @property
    def state(self) -> State:
        """As of the last call; an open one is found half open by the next `allows`."""
        return self._state

    def allows(self) -> bool:
        """Whether to call now. Who gets True must report what became of the call."""
        if self._is_closed():  # read without the lock: a call too many does no harm
            return True
        with self._lock:
            if self._is_closed():
                return True
            if self._clock() - self._since < self._open_seconds:
                return False
            self._enter(State.HALF_OPEN)
            return True

    def succeeded(self) -> None:
        """A call had its answer."""
        if self._state is State.CLOSED and not self._failures:
            return
        with self._lock:
            self._failures = 0
            self._enter(State.CLOSED)

    def failed(self) -> None:
        """A call had none."""
        with self._lock:
            self._failures += 1
            if self._state is not State.CLOSED or self._failures >= self._failures_max:
                self._enter(State.OPEN)

    def _is_closed(self) -> bool:
        return self._state is State.CLOSED

    def _enter(self, state: State) -> None:
        self._since = self._clock()
        if state is not self._state:
            self._state = state
            self._gauge.set(state)
