"""Workers and queues as the broker knows them: who holds a lease, who owns which lane, what waits and why."""

from collections.abc import Iterator
from typing import NamedTuple, cast

import redis

from shared.broker import keys
from shared.broker.claims import Claims
from shared.broker.lanes import is_single_active
from workers.doctor.finding import NOTE, WRONG, Finding
from workers.queues import QueueState, depths

LAG_SECONDS_MAX = 60.0
"""Work of a dead worker is back within 30 s; what waits for longer waits for something else."""
OVERDUE_SECONDS_MAX = 30.0
"""A lease that ended, or a delayed message that is due, is seen to by any live worker within seconds."""


class FleetFacts(NamedTuple):
    """What the broker knows.

    Args:
        lanes: the fleet's number of lanes; None when no worker ever ran.
        leases: consumer -> seconds until its lease ends, less than 0 when it has ended.
        reads: consumer -> the single-active queues that it reads.
        holders: single-active queue -> the consumer that holds claims of it.
        queues: what waits in each.
        paused: queues that are closed.
        refused: queue -> messages set aside that nobody could read.
        overdue_seconds: how long the oldest delayed message is due.
    """

    lanes: int | None
    leases: dict[str, float]
    reads: dict[str, frozenset[str]]
    holders: dict[str, str]
    queues: list[QueueState]
    paused: set[str]
    refused: dict[str, int]
    overdue_seconds: float

    @property
    def live(self) -> list[str]:
        """Consumers whose lease stands."""
        return [consumer for consumer, seconds in self.leases.items() if seconds > 0]

    def __str__(self) -> str:
        waiting, held = sum(each.depth for each in self.queues), sum(each.in_flight for each in self.queues)
        return f"{len(self.live)} hold leases; {waiting:,} messages wait, {held:,} are in their hands"


def ask(broker: redis.Redis, queues: list[str]) -> FleetFacts:
    """Ask the broker. Raises redis.RedisError."""
    seconds, micros = broker.time()
    now = int(seconds) + int(micros) / 1e6
    leases = cast("list[tuple[bytes, float]]", broker.zrange(keys.CONSUMERS, 0, -1, withscores=True))
    holders = cast("dict[bytes, bytes]", broker.hgetall(keys.HELD))
    delayed = cast("list[tuple[bytes, float]]", broker.zrange(keys.DELAYED, 0, 0, withscores=True))
    reads = cast("dict[bytes, bytes]", broker.hgetall(keys.CONSUMING))
    refused = {queue: int(broker.llen(keys.REFUSED + queue)) for queue in queues}
    lanes = cast("bytes | None", broker.get(keys.LANES))
    return FleetFacts(
        lanes=int(lanes) if lanes else None,
        leases={name.decode(): ends / 1000 - now for name, ends in leases},
        reads={name.decode(): frozenset(value.decode().split()) for name, value in reads.items()},
        holders={queue.decode(): value.rpartition(b" ")[0].decode() for queue, value in holders.items()},
        queues=depths(broker, queues),
        paused=Claims(broker).paused(),
        refused={queue: count for queue, count in refused.items() if count},
        overdue_seconds=max(0.0, now - delayed[0][1] / 1000) if delayed else 0.0,
    )


def of_workers(facts: FleetFacts, lanes: int) -> Iterator[Finding]:
    """What is wrong with who works. ``lanes``: as this process is configured."""
    if facts.lanes not in (None, lanes):
        fix = f"set HEADRACE_LANES={facts.lanes} here, or change the fleet's as docs/broker.md says"
        yield Finding(
            "settings", WRONG, f"HEADRACE_LANES is {lanes}, the fleet has {facts.lanes} lanes: this process cannot start", fix
        )
    if not facts.live:
        yield _wrong(
            "no worker holds a lease: nothing is stored",
            "start `headrace worker`; if one runs, its log says why it does not consume",
        )
        return
    for consumer, seconds in facts.leases.items():
        if seconds < -OVERDUE_SECONDS_MAX:
            problem = f"the lease of {consumer} ended {-seconds:.0f} s ago and nobody takes its messages back"
            yield _wrong(problem, "restart a worker: each takes back what the dead had; its log says why it does not")
    read = frozenset().union(*(facts.reads.get(consumer, frozenset()) for consumer in facts.live))
    unread = [each.name for each in facts.queues if is_single_active(each.name) and each.name not in read]
    if unread:
        yield _wrong(
            f"no live worker reads {_few(unread)}", "start workers with the fleet's HEADRACE_LANES; restart those that run"
        )
    lost = sorted(queue for queue, holder in facts.holders.items() if holder not in facts.leases)
    if lost:
        yield _wrong(
            f"{_few(lost)} are held by a worker that is gone", "stop all workers, run `headrace broker export`, start them again"
        )


def of_queues(facts: FleetFacts, dead_letters: int | None) -> Iterator[Finding]:
    """What is wrong with what waits. ``dead_letters``: None when the database did not say."""
    for each in facts.queues:
        late = each.oldest_age_seconds is not None and each.oldest_age_seconds > LAG_SECONDS_MAX
        if late and each.name not in facts.paused:
            problem = f"{each.name}: the oldest of {each.depth:,} has waited {each.oldest_age_seconds:.0f} s"
            yield Finding("queues", WRONG, problem, "start more workers; if they idle, see docs/troubleshooting.md")
    if facts.overdue_seconds > OVERDUE_SECONDS_MAX:
        problem = f"a delayed message is due for {facts.overdue_seconds:.0f} s"
        yield Finding("queues", WRONG, problem, "a worker moves it when it looks: see that one runs")
    if facts.paused:
        names = sorted(facts.paused)
        yield Finding(
            "queues", NOTE, f"{_few(names)} paused: messages are taken and not stored", f"`headrace queue resume {names[0]}`"
        )
    for queue, count in facts.refused.items():
        fix = f"look at them with `LRANGE {keys.REFUSED}{queue} 0 -1`, mend the sender (docs/broker.md)"
        yield Finding("queues", NOTE, f"{count:,} messages of {queue} are set aside: nobody can read them", fix)
    if dead_letters:
        fix = "`headrace dlq list`; mend the cause, then `headrace dlq replay`"
        yield Finding("queues", NOTE, f"{dead_letters:,} dead letters wait for a person", fix)


def _few(names: list[str]) -> str:
    return ", ".join(names[:3]) + (f" and {len(names) - 3} more" if len(names) > 3 else "")


def _wrong(problem: str, fix: str) -> Finding:
    return Finding("workers", WRONG, problem, fix)
