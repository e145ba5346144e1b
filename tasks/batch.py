"""The batch task: a function over a list, and nothing else.

A handler gets the members of a batch and returns one outcome for each, in their order::

    @batch_task("messages.store")
    def store(members: list[Member]) -> list[Outcome]: ...

The worker's parent collects messages (`tasks.collector`) and sends them raw to a child, which decodes and runs them here
(`run`). A member whose outcome is DeadLetter is kept in the dead letters before the outcomes go back, so that the
acknowledgement always follows the effect. An error of a dependency is reported as an outage, any other as a failure.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple, cast, get_args

from celery import Task

from shared.app import app
from shared.clock import monotonic_seconds, wall_seconds
from shared.db import query_guard
from shared.db.outage import is_outage
from shared.errors import HeadraceError
from shared.outcome import DeadLetter, Done, Outcome
from tasks import burial, measure
from tasks.fault import describe
from tasks.member import Member, Wire, opened

__all__ = ["BatchTask", "Member", "all_done", "batch_task", "run"]


class Settled(NamedTuple):
    """A batch whose effect is committed: an outcome a member, and how long it ran."""

    outcomes: list[Outcome]
    seconds: float


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


def run(wires: list[Wire], worker: str) -> Settled | Failed:
    """In a child: handle ``wires``, bury what is to be given up, and report. Never raises: an exception says nothing
    of which message is to blame, and might carry its text."""
    started = monotonic_seconds()
    try:
        members, outcomes = _handle(wires)
        burial.bury(members, outcomes, worker)
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is the batch's failure, never the child's
        return Failed(describe(error), outage=is_outage(error))
    now = wall_seconds()
    done = (member for member, outcome in zip(members, outcomes, strict=True) if isinstance(outcome, Done))
    measure.committed((member.via, now - member.received_at) for member in done)
    return Settled(outcomes, monotonic_seconds() - started)


def _handle(wires: list[Wire]) -> tuple[list[Member], list[Outcome]]:
    members: list[Member] = []
    outcomes: list[Outcome] = all_done(len(wires))
    places_of: dict[str, list[int]] = {}
    for place, wire in enumerate(wires):
        member, fault = opened(wire)
        members.append(member)
        if not fault and not isinstance(app.tasks.get(member.task), BatchTask):
            fault = f"there is no batch task {member.task[:100]!r}"
        if fault:
            outcomes[place] = DeadLetter(fault)
        else:
            places_of.setdefault(member.task, []).append(place)
    for task, places in places_of.items():
        for place, outcome in zip(places, _run(task, [members[place] for place in places]), strict=True):
            outcomes[place] = outcome
    return members, outcomes


def _run(task: str, members: list[Member]) -> Sequence[Outcome]:
    with query_guard.watching(task):
        outcomes: Sequence[Outcome] = app.tasks[task].run(members)
    if len(outcomes) != len(members) or not all(isinstance(outcome, get_args(Outcome)) for outcome in outcomes):
        raise HeadraceError(f"{task} must return one outcome for each of its {len(members)} members")
    return outcomes


def all_done(count: int) -> list[Outcome]:
    """``count`` times Done, one object: it is pickled once."""
    return [Done()] * count
