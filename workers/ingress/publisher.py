"""Group commit: messages of many requests go to the broker in one write, and each request waits for that write's answer.

One write is under way at a time, in one thread; what arrives meanwhile and in the linger, a few milliseconds, makes up the
next. So one fsync serves hundreds of requests.

When the broker is down only one write tries it at a time: who arrives meanwhile is refused at once, and the next one after
that is the next attempt. So an outage of any kind holds nobody longer than one time-out, and ends with the first success.
"""

import asyncio
from collections import deque
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import NamedTuple, Protocol

from shared.envelope import Enqueued
from shared.errors import BrokerUnavailable, HeadraceError
from shared.log import get_logger
from shared.producer import WRITE_BYTES_MAX

log = get_logger(__name__)


class Overloaded(HeadraceError):
    """More messages wait for the broker than `publish_waiting_max`. Nothing of the request was taken; repeat it later."""


class Writer(Protocol):
    """What writes: `shared.producer.Producer`, whose `publish` blocks until it is confirmed or raises BrokerUnavailable."""

    def publish(self, messages: Sequence[Enqueued], /) -> object: ...


class Waiting(NamedTuple):
    """A request's messages, and the future that it waits on."""

    messages: Sequence[Enqueued]
    confirmed: asyncio.Future[None]


class Publisher:
    """Lives on one event loop.

    Args:
        writer: see Writer.
        linger_seconds: how long less than a full write waits for more, 0 or more.
        messages_max: messages in one write; a single request may exceed it.
        waiting_max: messages that may wait or be under way; beyond it `publish` raises Overloaded.
        timeout_seconds: how long a request waits for its write; the write itself may take longer to give up.
    """

    def __init__(
        self, writer: Writer, *, linger_seconds: float, messages_max: int, waiting_max: int, timeout_seconds: float
    ) -> None:
        self._writer = writer
        self._linger_seconds = linger_seconds
        self._messages_max = messages_max
        self._waiting_max = waiting_max
        self._timeout_seconds = timeout_seconds
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="publisher")
        self._waiting: deque[Waiting] = deque()
        self._held = 0
        self._down = False
        self._writing = False
        self._loop_task: asyncio.Task[None] | None = None

    async def publish(self, messages: Sequence[Enqueued]) -> None:
        """Return once the broker has confirmed every message.

        Raises Overloaded (nothing was taken) or BrokerUnavailable (some or all may have been). A caller that is cancelled
        takes nothing back: its messages are written with their batch.
        """
        if self._down and self._writing:
            raise BrokerUnavailable("the broker does not confirm")
        if self._held and self._held + len(messages) > self._waiting_max:
            raise Overloaded(f"{self._held} messages wait for the broker")
        confirmed: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._held += len(messages)
        self._waiting.append(Waiting(messages, confirmed))
        if self._loop_task is None:
            self._loop_task = asyncio.create_task(self._write_all())
        await confirmed

    async def close(self) -> None:
        """Write what waits, then end the thread."""
        if self._loop_task is not None:
            await self._loop_task
        self._thread.shutdown(wait=False)

    async def _write_all(self) -> None:
        """Write batch after batch until nobody waits."""
        try:
            while self._waiting:
                if self._held < self._messages_max:
                    await asyncio.sleep(self._linger_seconds)
                await self._write(self._next_batch())
        finally:
            self._loop_task = None

    def _next_batch(self) -> list[Waiting]:
        batch: list[Waiting] = []
        count = size = 0
        while self._waiting and count < self._messages_max and size < WRITE_BYTES_MAX:
            messages = self._waiting[0].messages
            if batch and count + len(messages) > self._messages_max:
                break
            batch.append(self._waiting.popleft())
            count += len(messages)
            size += sum(len(message.payload) for message in messages)
        return batch

    async def _write(self, batch: list[Waiting]) -> None:
        messages = [message for waiting in batch for message in waiting.messages]
        self._writing = True
        written = asyncio.get_running_loop().run_in_executor(self._thread, self._writer.publish, messages)
        try:
            await asyncio.wait((written,), timeout=self._timeout_seconds)
            if not written.done():
                self._refuse(batch, "no answer in time")
                await asyncio.wait((written,))
            error = written.exception()
            if error is not None:
                self._refuse(batch, str(error) if isinstance(error, HeadraceError) else type(error).__name__)
                return
            if self._down:
                log.info("broker confirms again")
            self._down = False
            for waiting in batch:
                if not waiting.confirmed.done():
                    waiting.confirmed.set_result(None)
        finally:
            self._writing = False
            self._held -= len(messages)

    def _refuse(self, batch: list[Waiting], reason: str) -> None:
        """The broker failed: refuse ``batch`` and whoever came meanwhile."""
        if not self._down:
            log.warning("broker does not confirm", reason=reason)
        self._down = True
        refused = [*batch, *self._waiting]
        self._held -= sum(len(waiting.messages) for waiting in self._waiting)
        self._waiting.clear()
        for waiting in refused:
            if not waiting.confirmed.done():
                waiting.confirmed.set_exception(BrokerUnavailable("the broker does not confirm"))
