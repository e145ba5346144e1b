"""Batches of 200 written to the large database: alone, and by two processes while two others read."""

import subprocess
import sys
from collections.abc import Callable
from random import Random
from time import perf_counter
from uuid import UUID

import orjson
import psycopg
from sqlalchemy import event

from shared import log
from shared.clock import utc_now
from shared.db.engine import engine
from shared.db.queries import name_of, seconds_of
from shared.db.session import read_session, transact
from shared.message import Author, Message
from shared.settings import settings
from shared.store import conversations, messages
from shared.store.messages import Arrival
from tests.benchmarks import large
from tests.benchmarks.verdict import Series

BATCH = 200
BATCHES = 200
WARM = 20
"""Batches before the clock starts: statements are prepared, their generic plans made, the caches filled."""

SETTLING = 400
"""More batches until nine in ten pages of the exactly-once index of five million rows have changed since the checkpoint: from
then on a batch logs what it changes and not whole pages. At full speed a checkpoint comes every 3,500 batches."""

WRITERS = READERS = 2

BROKEN = """
SELECT count(*) FROM (
    SELECT FROM conversations v JOIN messages m ON m.conversation_id = v.id WHERE v.id > %s
    GROUP BY v.id HAVING v.message_count <> max(m.sequence) OR count(DISTINCT m.sequence) <> count(*)
) AS broken
"""
COUNTED = "SELECT (SELECT sum(messages) FROM account_counts) - (SELECT sum(message_count) FROM conversations)"

Say = Callable[[str], None]


def batch(random: Random) -> list[Arrival]:
    """200 new messages of active conversations, ids random."""
    return [_arrival(random, large.CONVERSATIONS - random.randrange(large.ACTIVE)) for _ in range(BATCH)]


def _arrival(random: Random, conversation: int) -> Arrival:
    message = Message(
        message_id=str(UUID(int=random.getrandbits(128), version=4)),
        conversation_id=f"conversation-{conversation}",
        author=Author(f"customer-{conversation}", f"Customer {conversation}"),
        text="hello parcel invoice " * random.randint(1, 15),
        sent_at=utc_now(),
        metadata={"ordinal": conversation},
    )
    return Arrival(large.owner_of(conversation), message, utc_now())


def write(random: Random) -> float:
    """Store one batch and commit it; milliseconds."""
    arrivals = batch(random)
    started = perf_counter()
    transact(lambda session: messages.store(session, arrivals))
    return (perf_counter() - started) * 1000


def alone(say: Say) -> list[Series]:
    """BATCHES by one connection, nothing else going on: just after a checkpoint, and once nearly every page was logged since."""
    random = Random(1)
    found = []
    for when, unmeasured in (("just after a checkpoint", WARM), ("alone", SETTLING)):
        for _ in range(unmeasured):
            write(random)
        series = Series(f"a batch of {BATCH}, {when}", "ms", [write(random) for _ in range(BATCHES)])
        say(f"queries: {series.name}: p50 {series.median:,.1f} ms, {BATCH * 1000 / series.median:,.0f} messages/s")
        found.append(series)
    return found


def under_load(seconds: float, say: Say) -> list[Series]:
    """WRITERS and READERS as processes for ``seconds``; the statements of each kind, and the whole batches."""
    roles = ["write"] * WRITERS + ["read"] * READERS
    command = [sys.executable, "-m", "tests.benchmarks.writing", str(seconds)]
    started = [subprocess.Popen([*command, role, str(n)], stdout=subprocess.PIPE) for n, role in enumerate(roles)]
    outputs = [process.communicate(timeout=seconds + 60)[0] for process in started]
    found: dict[str, list[float]] = {}
    for output in outputs:
        for name, values in orjson.loads(output).items():
            found.setdefault(name, []).extend(values)
    batches = len(found.get("a whole batch", ()))
    say(f"queries: {batches * BATCH / seconds:,.0f} messages/s under load")
    return [Series(f"{name}, under load", "ms", values) for name, values in sorted(found.items()) if len(values) > 1]


def faults() -> list[str]:
    """What is wrong with what was written."""
    with psycopg.connect(settings().database_url) as connection:
        checks = {
            "a sequence has gaps": connection.execute(BROKEN, (large.CONVERSATIONS - large.ACTIVE,)).fetchone()[0] == 0,
            "the accounts' counts do not add up": connection.execute(COUNTED).fetchone()[0] == 0,
        }
    return [fault for fault, holds in checks.items() if not holds]


def _load(seconds: float, role: str, number: int) -> dict[str, list[float]]:
    found: dict[str, list[float]] = {}

    def saw(*all_: object) -> None:
        context = all_[4]
        found.setdefault(name_of(context), []).append(seconds_of(context) * 1000)

    random = Random(100 + number)
    work = _writing if role == "write" else _reading
    for _ in range(WARM):
        work(random)
    event.listen(engine(), "after_cursor_execute", saw)
    end = perf_counter() + seconds
    wholes = []
    while perf_counter() < end:
        wholes.append(work(random))
    if role == "write":
        found["a whole batch"] = wholes
    return found


def _writing(random: Random) -> float:
    return write(random)


def _reading(random: Random) -> float:
    started = perf_counter()
    conversation = large.CONVERSATIONS - random.randrange(large.ACTIVE)
    owner = large.owner_of(conversation)
    with read_session() as session:
        conversations.messages(session, owner, f"conversation-{conversation}", limit=50, after=random.randrange(400))
        conversations.newest(session, owner, limit=50, before=None)
        conversations.stats(session, owner)
    return (perf_counter() - started) * 1000


if __name__ == "__main__":
    log.configure("benchmark")  # to stderr: stdout is for what was measured
    sys.stdout.buffer.write(orjson.dumps(_load(float(sys.argv[1]), sys.argv[2], int(sys.argv[3]))))
