"""Fairness: one account floods the edge with about ten times what the fleet stores, twenty others send a little each.

A fleet of one ingress and one worker of two children. The twenty send five messages a second each, over ten conversations, first
alone and then beside the flood. Latency is from the edge's time of acceptance to `stored_at`, which the database sets in the
statement before the commit; one host, one clock. Whatever was answered with 202 is looked for by its id.
"""

import asyncio
import json
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from statistics import quantiles
from typing import NamedTuple

from loadgen.http import Connection
from shared.db.engine import close_engine
from shared.db.session import transact
from shared.store import accounts
from tests.benchmarks import flood
from tests.benchmarks.ground import Ground
from tests.benchmarks.sides import LANES, ingress, worker
from tests.benchmarks.verdict import Bound, Series, Verdict
from tests.waiting import eventually

OTHERS = 20
RATE_OF_ONE = 5
CONVERSATIONS = 10

ALONE, BESIDE = "alone", "beside"
P95_MS_MAX = 1_000
FLOOD_MIN = 10
"""Times what the fleet stored of it: less were no flood."""

START_SECONDS_MAX = 60
DRAIN_SECONDS_MAX = 120

LATENCIES = """
SELECT extract(epoch FROM stored_at - received_at) * 1000 FROM messages WHERE message_id LIKE %s || '-%%' ORDER BY id
"""
FLOODED = "SELECT split_part(message_id, '-', 2)::int, count(*) FROM messages WHERE message_id LIKE 'flood-%%' GROUP BY 1"


class Sent(NamedTuple):
    """What the twenty sent: ids that were answered with 202, all answers, and milliseconds until each."""

    accepted: set[str]
    answers: Counter[str]
    milliseconds: list[float]


class Flood(NamedTuple):
    """What the flood got: requests by answer, and the numbers of those that were taken."""

    answers: dict[str, int]
    accepted: list[int]

    @property
    def offered(self) -> int:
        """Messages."""
        return sum(self.answers.values()) * flood.MESSAGES_A_REQUEST


def run(ground: Ground, *, seconds: float, say: Callable[[str], None]) -> Verdict:
    """Let the twenty send for ``seconds`` alone and for ``seconds`` beside the flood."""
    ground.reset()
    flooder, *others = [_api_key(f"fair-{number}") for number in range(OTHERS + 1)]
    close_engine()
    with ingress(ground) as (edge, port), worker(LANES, ground) as child:
        for each in (edge, child):
            eventually(f"{each.program.name} is ready", each.program.is_ready, within=START_SECONDS_MAX)
        alone = asyncio.run(_send(port, others, ALONE, seconds))
        with _flood(port, flooder, seconds) as report:
            beside = asyncio.run(_send(port, others, BESIDE, seconds))
            flooded = report()
        sent = len(alone.accepted) + len(beside.accepted) + len(flooded.accepted) * flood.MESSAGES_A_REQUEST
        eventually("all that was taken is stored", lambda: ground.stored() >= sent, within=DRAIN_SECONDS_MAX, every=0.25)
    measured = [_series(ground, ALONE, alone, say), _series(ground, BESIDE, beside, say)]
    rows: dict[int, int] = dict(ground.database.execute(FLOODED).fetchall())
    offered, stored = flooded.offered / seconds, sum(rows.values()) / seconds
    say(f"fairness: the flood offered {offered:,.0f}/s, {stored:,.0f}/s were stored; its requests by answer: {flooded.answers}")
    rates = [Series("the flood, offered", "messages/s", [offered]), Series("the flood, stored", "messages/s", [stored])]
    p95 = _percentiles(measured[1][0].values)[95]
    bounds = [
        Bound(f"p95 from accepted to stored, {OTHERS} beside a flood", p95, P95_MS_MAX, at_least=False, unit="ms"),
        Bound("the flood: offered / stored", offered / max(stored, 1), FLOOD_MIN),
    ]
    lost = [number for number in flooded.accepted if rows.get(number) != flood.MESSAGES_A_REQUEST]
    faults = [*ground.faults(ground.stored()), *_missing(ground, alone.accepted | beside.accepted)]
    faults += [f"{len(lost)} requests of the flood were answered with 202 and are not stored whole"] if lost else []
    parameters = {"seconds": seconds, "accounts": OTHERS, "answers to the flood": flooded.answers}
    return Verdict("fairness", parameters, [*measured[0], *measured[1], *rates], bounds, faults)


def _series(ground: Ground, name: str, sent: Sent, say: Callable[[str], None]) -> list[Series]:
    latencies = [float(row[0]) for row in ground.database.execute(LATENCIES, (name,))]
    say(f"fairness: the {OTHERS} {name}: accepted to stored {_shown(latencies)}; answered {_shown(sent.milliseconds)}")
    say(f"fairness: the {OTHERS} {name}: requests by answer: {dict(sent.answers)}")
    return [Series(f"{name}: accepted to stored", "ms", latencies), Series(f"{name}: answered", "ms", sent.milliseconds)]


def _missing(ground: Ground, accepted: set[str]) -> list[str]:
    stored = {row[0] for row in ground.database.execute("SELECT message_id FROM messages")}
    return [f"{len(accepted - stored)} messages were answered with 202 and are not stored"] if accepted - stored else []


async def _send(port: int, api_keys: list[str], name: str, seconds: float) -> Sent:
    """Each account on a connection of its own; one answer late delays that account's next message alone."""
    sent = Sent(set(), Counter(), [])
    started = time.monotonic()

    async def account(place: int, api_key: str) -> None:
        connection = Connection("127.0.0.1", port, timeout=30)
        head = f"POST /v1/messages HTTP/1.1\r\ncontent-type: application/json\r\nauthorization: Bearer {api_key}\r\n"
        for number in range(int(seconds * RATE_OF_ONE)):
            await flood.until(started + (number + place / OTHERS) / RATE_OF_ONE)
            message_id = f"{name}-{place}-{number}"
            begun = time.monotonic()
            answer = await connection.request(head, _message(message_id, number % CONVERSATIONS))
            sent.milliseconds.append(1000 * (time.monotonic() - begun))
            sent.answers[str(answer.status)] += 1
            if answer.status == 202:
                sent.accepted.add(message_id)
        connection.close()

    await asyncio.gather(*(account(place, api_key) for place, api_key in enumerate(api_keys)))
    return sent


def _message(message_id: str, conversation: int) -> bytes:
    return json.dumps(
        {
            "message_id": message_id,
            "conversation_id": f"conversation-{conversation}",
            "author": {"id": f"customer-{conversation}"},
            "text": "is the blue one back in stock?",
            "sent_at": "2026-11-24T09:00:00Z",
        }
    ).encode()


@contextmanager
def _flood(port: int, api_key: str, seconds: float) -> Iterator[Callable[[], Flood]]:
    """The flood, begun; gives what waits for its end and returns its report."""
    command = [sys.executable, "-m", flood.__name__, str(port), str(seconds)]
    process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
    try:
        assert process.stdin is not None
        process.stdin.write(f"{api_key}\n")
        process.stdin.flush()
        yield lambda: Flood(**json.loads(process.communicate(timeout=seconds + START_SECONDS_MAX)[0]))
    finally:
        process.kill()
        process.wait()


def _api_key(name: str) -> str:
    return transact(lambda session: accounts.create(session, name)).api_key


def _percentiles(values: list[float]) -> dict[int, float]:
    cuts = quantiles(values, n=100, method="inclusive")
    return {percent: cuts[percent - 1] for percent in (50, 95, 99)}


def _shown(values: list[float]) -> str:
    return " ".join(f"p{percent} {value:,.0f} ms" for percent, value in _percentiles(values).items())
