"""What an account may still send: room for a request's messages below the account's bound, or 429.

One account's flood is refused here, before it is decoded, so that what others send never stands behind more than the bound of it.
An account that has the fleet to itself delays nobody: it is refused only where the broker's memory asks for it.
The depths are looked at ten times a second, in a thread, and only while requests come. When the broker does not tell them, nobody
knows what waits there and nobody is refused for it: the write itself answers then.
"""

import asyncio
import math
from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from shared.clock import monotonic_seconds
from shared.envelope import Enqueued
from shared.log import get_logger
from workers.ingress.answer import Refused
from workers.ingress.backlog import Backlog
from workers.ingress.bound import Bound
from workers.ingress.company import Company

log = get_logger(__name__)

LOOK_SECONDS = 0.1
"""Between two looks. In that time a fleet settles a few hundred messages: an estimate that old refuses a little early."""

KNOWN_SECONDS_MAX = 2.0
"""A look older than this says nothing any more: after a pause the first request is taken, and the next look counts it."""

RETRY_SECONDS_MAX = 30
"""The longest `Retry-After`: a fleet that was out may be back by then."""

LOG_SECONDS = 10.0
"""Between two lines about refusals: one account's flood is thousands a second."""


class Quota:
    """Lives on one event loop.

    Args:
        look: blocking; lane -> messages waiting or claimed; raises when the broker does not answer, within its own deadline.
        messages_max: how many messages of one account may be on their way while nobody else sends.
        shared_max: how many while others do, and the fleet keeps up; see `workers.ingress.bound`.
        now: monotonic seconds.
    """

    def __init__(
        self,
        look: Callable[[], Mapping[str, int]],
        *,
        messages_max: int,
        shared_max: int,
        now: Callable[[], float] = monotonic_seconds,
    ) -> None:
        self._look = look
        self._messages_max = messages_max
        self._bound = Bound(shared_max)
        self._company = Company()
        self._now = now
        self._backlog = Backlog()
        self._unconfirmed: Counter[str] = Counter()  # account -> messages of requests that are not answered yet
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="depths")
        self.looking: asyncio.Task[None] | None = None
        """The look that is under way."""
        self._looked_at = self._known_at = self._logged_at = -math.inf
        self._retry_after: dict[str, int] = {}  # account -> seconds, as of the last look: a flood asks thousands of times

    @contextmanager
    def room(self, account_id: str, count: int) -> Iterator[None]:
        """For a ``with`` around taking ``count`` messages. Raises Refused (429) when the account would pass its bound.

        A request is taken whole when nothing of the account waits, however large it is.
        """
        self._look_again()
        now = self._now()
        known = now - self._known_at <= KNOWN_SECONDS_MAX
        backlog = self._unconfirmed[account_id] + (self._backlog.of(account_id) if known else 0)
        bound = self._bound.messages if self._company.has(account_id, now) else self._messages_max
        if backlog and backlog + count > bound:
            raise self._refused(account_id, backlog, bound, now)
        self._unconfirmed[account_id] += count
        try:
            yield
        finally:
            self._unconfirmed[account_id] -= count
            if not self._unconfirmed[account_id]:
                del self._unconfirmed[account_id]

    def put(self, account_id: str, messages: Iterable[Enqueued]) -> None:
        """The broker has confirmed ``messages`` of the account."""
        self._company.came(account_id, self._now())
        self._backlog.put(account_id, Counter(message.queue for message in messages), self._now())

    async def close(self) -> None:
        """End the thread, without waiting for a broker that hangs."""
        if self.looking is not None:
            self.looking.cancel()
            await asyncio.wait((self.looking,))
        self._thread.shutdown(wait=False, cancel_futures=True)

    def _look_again(self) -> None:
        if self.looking is None and self._now() - self._looked_at >= LOOK_SECONDS:
            self._looked_at = self._now()
            self._backlog.asked()
            self.looking = asyncio.create_task(self._update())

    async def _update(self) -> None:
        try:
            depths = await asyncio.get_running_loop().run_in_executor(self._thread, self._look)
        except Exception as error:  # noqa: BLE001 - whatever it is, the depths are not known, and the publisher says why
            log.debug("depths unknown", reason=type(error).__name__)
        else:
            before, now = self._backlog.total(), self._now()
            self._backlog.told(depths, self._unconfirmed.total(), now)
            after = self._backlog.total()
            self._bound.observe(before - after, after, now)
            self._known_at = self._looked_at
            self._retry_after.clear()
        finally:
            self.looking = None

    def _refused(self, account_id: str, backlog: int, bound: int, now: float) -> Refused:
        if account_id not in self._retry_after:
            wait = self._backlog.wait_seconds(account_id, now)
            self._retry_after[account_id] = min(max(1, math.ceil(wait)), RETRY_SECONDS_MAX)
        seconds = self._retry_after[account_id]
        if now - self._logged_at >= LOG_SECONDS:
            self._logged_at = now
            log.warning("account over its backlog bound, refused", account=account_id, backlog=backlog, bound=bound)
        detail = f"{backlog} messages of the account wait, {bound} may; repeat the request in {seconds} s"
        return Refused(429, detail, (b"retry-after", str(seconds).encode()))
