"""An outage of the cache's Redis: what the fleet still takes and stores while it hangs, and while it is dead, for 30 s each.

One ingress and one worker of two children. Twenty accounts, each on a connection of its own, send arrays of ten messages as fast
as they are answered, and wait when they are told to (429): there is always a backlog, so what is stored a second is what the
fleet can. Rates are of messages answered with 202, and of messages stored. A stopped process (SIGSTOP) is the worst a
Redis can do: connections stay open and nobody answers.
"""

import asyncio
import json
import os
import signal
import threading
import time
from collections.abc import Callable
from typing import NamedTuple

from loadgen.http import Connection
from shared.db.engine import close_engine
from shared.db.session import transact
from shared.settings import PREFIX
from shared.store import accounts
from tests.benchmarks.flood import until
from tests.benchmarks.ground import Ground
from tests.benchmarks.sides import LANES, ingress, worker
from tests.benchmarks.verdict import Bound, Series, Verdict
from tests.redis_server import EMBEDDED, RedisServer, running
from tests.waiting import eventually

ACCOUNTS, A_REQUEST, CONVERSATIONS = 20, 10, 50
START_SECONDS_MAX, DRAIN_SECONDS_MAX = 60, 180
RATIO_MIN = 0.5


class Rate(NamedTuple):
    """Messages a second: answered with 202, and stored."""

    taken: float
    stored: float


class Sender:
    """The twenty, on a thread and loop of their own, until they are told to end."""

    def __init__(self, port: int, keys: list[str]) -> None:
        self.taken, self.ended = 0, False
        self.answers: dict[int, int] = {}
        self._thread = threading.Thread(target=lambda: asyncio.run(self._send(port, keys)))
        self._thread.start()

    def end(self) -> None:
        """Let each finish its request."""
        self.ended = True
        self._thread.join()

    async def _send(self, port: int, keys: list[str]) -> None:
        await asyncio.gather(*(self._account(port, place, key) for place, key in enumerate(keys)))

    async def _account(self, port: int, place: int, key: str) -> None:
        connection, number = Connection("127.0.0.1", port, timeout=30), 0
        head = f"POST /v1/messages HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {key}\r\n"
        while not self.ended:
            answer = await connection.request(head, _messages(place, number))
            self.answers[answer.status] = self.answers.get(answer.status, 0) + 1
            if answer.status == 202:
                self.taken += A_REQUEST
                number += 1
            else:
                await until(time.monotonic() + (answer.retry_after or 1))
        connection.close()


def run(ground: Ground, *, seconds: float, say: Callable[[str], None]) -> Verdict:
    """A third of ``seconds`` in health, then ``seconds`` of each outage, with as much health between."""
    ground.reset()
    keys = [transact(lambda session, n=n: accounts.create(session, f"outage-{n}")).api_key for n in range(ACCOUNTS)]
    close_engine()
    directory = ground.directory / "outage"
    directory.mkdir()
    with running(EMBEDDED, directory, "--maxmemory", "64mb", "--maxmemory-policy", "allkeys-lfu") as server:
        before = dict(ground.headrace_environment)
        ground.headrace_environment[f"{PREFIX}CACHE_URL"] = server.url
        try:
            rates, sender = _measure(ground, server, keys, seconds, say)
        finally:
            ground.headrace_environment.clear()
            ground.headrace_environment.update(before)
    series = [
        Series(f"{name}, {what}", "messages/s", [value]) for name, it in rates.items() for what, value in it._asdict().items()
    ]
    bounds = [
        Bound(f"stored a second while Redis {name} / before", rates[name].stored / rates["healthy"].stored, RATIO_MIN)
        for name in ("hangs", "is dead")
    ]
    failed = {status: count for status, count in sender.answers.items() if status not in (202, 429)}
    faults = [*ground.faults(sender.taken), *([f"requests failed: {failed}"] if failed else [])]
    return Verdict("cache_outage", {"seconds": seconds, "answers": sender.answers}, series, bounds, faults)


def _measure(
    ground: Ground, server: RedisServer, keys: list[str], seconds: float, say: Callable[[str], None]
) -> tuple[dict[str, Rate], Sender]:
    rates: dict[str, Rate] = {}
    with ingress(ground) as (edge, port), worker(LANES, ground) as child:
        for each in (edge, child):
            eventually(f"{each.program.name} is ready", each.program.is_ready, within=START_SECONDS_MAX)
        sender = Sender(port, keys)

        def over(name: str, length: float) -> None:
            begun, taken, stored = time.monotonic(), sender.taken, ground.stored()
            threading.Event().wait(length)
            spent = time.monotonic() - begun
            rates[name] = Rate((sender.taken - taken) / spent, (ground.stored() - stored) / spent)
            say(f"cache_outage: {name}: {rates[name].taken:,.0f}/s taken, {rates[name].stored:,.0f}/s stored")

        try:
            over("starting", seconds / 6)
            over("healthy", seconds / 3)
            os.kill(server.process.pid, signal.SIGSTOP)
            over("hangs", seconds)
            os.kill(server.process.pid, signal.SIGCONT)
            over("healthy again", seconds / 3)
            server.kill()
            over("is dead", seconds)
            server.start()
            over("healthy at the end", seconds / 3)
        finally:
            sender.end()
        eventually("all that was taken is stored", lambda: ground.stored() >= sender.taken, within=DRAIN_SECONDS_MAX, every=0.5)
    return rates, sender


def _messages(place: int, number: int) -> bytes:
    return json.dumps(
        [
            {
                "message_id": f"{place}-{number}-{each}",
                "conversation_id": f"conversation-{(number * A_REQUEST + each) % CONVERSATIONS}",
                "author": {"id": f"customer-{each}"},
                "text": "is the blue one back in stock?",
                "sent_at": "2026-11-24T09:00:00Z",
            }
            for each in range(A_REQUEST)
        ]
    ).encode()
