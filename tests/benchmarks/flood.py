"""One account that sends far too much and honours no refusal: `python -m tests.benchmarks.flood PORT SECONDS < KEY`.

Prints as JSON how many requests got which answer, and the numbers of those whose messages were taken. A process of its own, so
that it takes no turn from whoever is measured beside it.
"""

import asyncio
import json
import sys
import time
from collections import Counter
from itertools import count

from loadgen.http import Connection

RATE = 160_000
"""Messages a second: ten times the 16,000 that the quickest pair of cores seen here stores, the ingress at rest."""

CONNECTIONS = 16
MESSAGES_A_REQUEST = 1_000
"""The most that one request may carry."""
CONVERSATIONS = 50

NUMBER = b"########"
"""Stands in the prepared body where a request's number goes: encoding anew would make the flood slower than what it floods."""


def message_id(request: int, message: int) -> str:
    """Of a message of the flood."""
    return f"flood-{request:08d}-{message}"


async def until(moment: float) -> None:
    """Return when it is ``moment``, monotonic seconds; at once when that is past."""
    due = asyncio.Event()
    asyncio.get_running_loop().call_at(moment, due.set)
    await due.wait()


def main(port: int, seconds: float, api_key: str) -> None:
    """Flood, then report."""
    answers: Counter[str] = Counter()
    accepted: list[int] = []
    asyncio.run(_flood(port, seconds, api_key, answers, accepted))
    sys.stdout.write(json.dumps({"answers": answers, "accepted": accepted}))


async def _flood(port: int, seconds: float, api_key: str, answers: Counter[str], accepted: list[int]) -> None:
    body, numbers, started = _body(), count(), time.monotonic()
    head = f"POST /v1/messages HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {api_key}\r\n"

    async def send() -> None:
        connection = Connection("127.0.0.1", port, timeout=30)
        while (due := (number := next(numbers)) * MESSAGES_A_REQUEST / RATE) < seconds:
            await until(started + due)
            try:
                answer = await connection.request(head, body.replace(NUMBER, b"%08d" % number))
            except (ConnectionError, TimeoutError):
                answers["none"] += 1
                continue
            answers[str(answer.status)] += 1
            if answer.status == 202:
                accepted.append(number)
        connection.close()

    await asyncio.gather(*(send() for _ in range(CONNECTIONS)))


def _body() -> bytes:
    messages = [
        {
            "message_id": message_id(0, number).replace("0" * 8, NUMBER.decode()),
            "conversation_id": f"conversation-{number % CONVERSATIONS}",
            "author": {"id": f"customer-{number % CONVERSATIONS}", "name": "Customer"},
            "text": "where is my parcel, I have been waiting for it since yesterday morning",
            "sent_at": "2026-11-24T09:00:00Z",
        }
        for number in range(MESSAGES_A_REQUEST)
    ]
    return json.dumps(messages).encode()


if __name__ == "__main__":
    main(int(sys.argv[1]), float(sys.argv[2]), sys.stdin.readline().strip())
