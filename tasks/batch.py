"""The batch task: a function over a list, and nothing else.

A handler gets the members of a batch and returns one outcome for each, in their order::

    @batch_task("messages.store")
    def store(members: list[Member]) -> list[Outcome]: ...

The worker's parent collects messages (`tasks.collector`) and sends them raw to a child, which decodes and runs them here
(`run`). A member whose outcome is DeadLetter is kept in the dead letters before the outcomes go back, so that the
acknowledgement always follows the effect. An error of a dependency is reported as an outage, any other as a failure.
"""

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from typing import NamedTuple, cast, get_args

from celery import Task

from shared.app import app
from shared.clock import monotonic_seconds, wall_seconds
from shared.db import query_guard
from shared.db.outage import is_outage
from shared.errors import HeadraceError
from shared.log import bound
from shared.outcome import DeadLetter, Done, Outcome
from shared.tracing import batch_span
from tasks import burial, measure
from tasks.fault import describe
from tasks.member import Member, Wire, opened

__all__ = ["BatchTask", "Member", "all_done", "batch_task", "run"]


class Settled(NamedTuple):
    """A batch whose effect is committed: an outcome a member, how long it ran, and its trace's id, if it has one."""

    outcomes: list[Outcome]
    seconds: float
    trace_id: str | None = None


class Failed(NamedTuple):
    """A batch without effect. ``outage``: a dependency's fault, not the messages'."""

    reason: str
    outage: bool


Handler = Callable[[list[Member]], Sequence[Outcome]]


class BatchTask(Task):
    """A task whose messages are collected into batches in the parent."""

    abstract = True
    Strategy = "tasks.collector:strategy"


def batch_task(name: str) -> Callable[[Handler], BatchTask]:
    """Register a handler under ``name``; its queue is named like it, up to the first dot."""
    return cast(Callable[[Handler], BatchTask], app.task(name=name, base=BatchTask))


def run(wires: list[Wire], worker: str, batch_id: str = "") -> Settled | Failed:
    """In a child: handle ``wires``, bury what is to be given up, and report. Never raises: an exception says nothing
    of which message is to blame, and might carry its text. What is logged meanwhile names the batch."""
    started = monotonic_seconds()
    try:
        members, faults = _open(wires)
        with bound(batch=batch_id), _traced(members) as trace_id:
            outcomes = _handle(members, faults)
            burial.bury(members, outcomes, worker)
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is the batch's failure, never the child's
        return Failed(describe(error), outage=is_outage(error))
    now = wall_seconds()
    done = (member for member, outcome in zip(members, outcomes, strict=True) if isinstance(outcome, Done))
    measure.committed((member.via, now - member.received_at) for member in done)
    return Settled(outcomes, monotonic_seconds() - started, trace_id)


def _open(wires: list[Wire]) -> tuple[list[Member], list[str]]:
    members, faults = [], []
    for wire in wires:
        member, fault = opened(wire)
        if not fault and not isinstance(app.tasks.get(member.task), BatchTask):
            fault = f"there is no batch task {member.task[:100]!r}"
        members.append(member)
        faults.append(fault)
    return members, faults


def _traced(members: list[Member]) -> AbstractContextManager[str | None]:
    size = {"messaging.batch.message_count": len(members)}
    return batch_span(members[0].task, ((member.headers, member.wire.claimed_at) for member in members), **size)


def _handle(members: list[Member], faults: list[str]) -> list[Outcome]:
    outcomes: list[Outcome] = all_done(len(members))
    places_of: dict[str, list[int]] = {}
    for place, (member, fault) in enumerate(zip(members, faults, strict=True)):
        if fault:
            outcomes[place] = DeadLetter(fault)
        else:
            places_of.setdefault(member.task, []).append(place)
    for task, places in places_of.items():
        for place, outcome in zip(places, _run(task, [members[place] for place in places]), strict=True):
            outcomes[place] = outcome
    return outcomes


def _run(task: str, members: list[Member]) -> Sequence[Outcome]:
    with query_guard.watching(task):
        outcomes: Sequence[Outcome] = app.tasks[task].run(members)
    if len(outcomes) != len(members) or not all(isinstance(outcome, get_args(Outcome)) for outcome in outcomes):
        raise HeadraceError(f"{task} must return one outcome for each of its {len(members)} members")
    return outcomes


def all_done(count: int) -> list[Outcome]:
    """``count`` times Done, one object: it is pickled once."""
    return [Done()] * count
