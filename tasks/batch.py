"""The batch task: a function over a list, and nothing else.

A handler gets the members of a batch and returns one outcome for each, in their order::

    @batch_task("messages.store")
    def store(members: list[Member]) -> list[Outcome]: ...

The worker's parent collects messages (`tasks.collector`) and sends raw bodies to a child, which decodes and runs them here
(`run`). A member whose outcome is DeadLetter is kept in the dead letters before the outcomes go back, so that the
acknowledgement always follows the effect. An error of a dependency is reported as an outage, any other as a failure.
"""

import traceback
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any, NamedTuple, cast, get_args

import msgspec
from celery import Task

from shared.app import app
from shared.clock import monotonic_seconds, utc_now, wall_seconds
from shared.db.outage import is_outage
from shared.db.session import transact
from shared.errors import HeadraceError, InvalidMessage
from shared.message import decode
from shared.outcome import DeadLetter, Done, Outcome
from shared.store import dead_letters


class Wire(NamedTuple):
    """A message on its way from the parent to a child: raw, decoded only there.

    ``verdict`` is why the parent gave it up (attempts used up, lost twice): it is then buried, not handled; else empty.
    ``received_at``: wall-clock seconds, accepted by the edge or first claimed here.
    """

    queue: str
    task_id: str
    headers: dict[str, Any]
    body: bytes
    received_at: float
    history: list[dict[str, Any]]
    verdict: str


@dataclass(frozen=True)
class Member:
    """One message as a handler sees it."""

    wire: Wire

    @cached_property
    def argument(self) -> msgspec.Raw:
        """The message's one argument, as raw JSON. Raises InvalidMessage when the body is no such call."""
        arguments = decode(self.wire.body, Call).arguments
        if len(arguments) != 1:
            raise InvalidMessage("takes one positional argument", "args")
        return arguments[0]

    @property
    def received_at(self) -> float:
        """Wall-clock seconds when it was accepted by the edge or first claimed."""
        return self.wire.received_at


class Call(msgspec.Struct, array_like=True, frozen=True):
    """The body of a Celery protocol-2 message."""

    arguments: list[msgspec.Raw]
    keywords: msgspec.Raw = msgspec.Raw(b"{}")
    embedded: msgspec.Raw = msgspec.Raw(b"{}")


class Settled(NamedTuple):
    """A batch whose effect is committed: an outcome a member; how long it ran and when it ended (wall clock)."""

    outcomes: list[Outcome]
    seconds: float
    ended_at: float


class Failed(NamedTuple):
    """A batch without effect. ``outage``: a dependency's fault, not the messages'."""

    reason: str
    outage: bool


class Names(msgspec.Struct):
    """What a dead letter is found by, as far as it can be read."""

    account_id: str | None = None
    message_id: str | None = None


Handler = Callable[[list[Member]], Sequence[Outcome]]


class BatchTask(Task):
    """A task whose messages are collected into batches in the parent."""

    abstract = True
    Strategy = "tasks.collector:strategy"


def batch_task(name: str) -> Callable[[Handler], BatchTask]:
    """Register a handler under ``name``, a task of `shared.topology`."""
    return cast(Callable[[Handler], BatchTask], app.task(name=name, base=BatchTask))


def run(task: str, wires: list[Wire], worker: str) -> Settled | Failed:
    """In a child: handle ``wires``, bury what is to be given up, and report. Never raises: an exception says nothing
    of which message is to blame, and might carry its text."""
    started = monotonic_seconds()
    try:
        outcomes = _handle(task, wires)
        _bury(task, wires, outcomes, worker)
    except Exception as error:  # noqa: BLE001 - whatever a handler raises is the batch's failure, never the child's
        return Failed(describe(error), outage=is_outage(error))
    return Settled(outcomes, monotonic_seconds() - started, wall_seconds())


def _handle(task: str, wires: list[Wire]) -> list[Outcome]:
    outcomes: list[Outcome] = [DeadLetter(wire.verdict) for wire in wires]
    places, members = [], []
    for place, wire in enumerate(wires):
        if not wire.verdict:
            places.append(place)
            members.append(Member(wire))
    if members:
        answers = app.tasks[task].run(members)
        if len(answers) != len(members) or not all(isinstance(answer, get_args(Outcome)) for answer in answers):
            raise HeadraceError(f"{task} must return one outcome for each of its {len(members)} members")
        for place, answer in zip(places, answers, strict=True):
            outcomes[place] = answer
    return outcomes


def _bury(task: str, wires: list[Wire], outcomes: list[Outcome], worker: str) -> None:
    letters = [
        letter(task, wire, outcome.reason, worker)
        for wire, outcome in zip(wires, outcomes, strict=True)
        if isinstance(outcome, DeadLetter)
    ]
    if letters:
        transact(lambda session: dead_letters.bury(session, letters))


def letter(task: str, wire: Wire, reason: str, worker: str) -> dead_letters.Letter:
    """The dead letter of a message, whole."""
    names = Names()
    with suppress(InvalidMessage):  # what cannot be read is kept all the same
        names = decode(Member(wire).argument, Names)
    last = {"at": utc_now().isoformat(), "outcome": "dead letter", "reason": reason, "worker": worker}
    return dead_letters.Letter(
        queue=wire.queue,
        task=task,
        task_id=wire.task_id,
        account_id=_short(names.account_id),
        message_id=_short(names.message_id),
        reason=reason,
        history=[*wire.history, last],
        headers=wire.headers,
        body=wire.body,
    )


def _short(name: str | None) -> str | None:
    return name.replace("\0", "")[:255] if name else None


def describe(error: BaseException) -> str:
    """An error without its text, which may quote a message: the kind, the SQLSTATE, and where in our code it arose."""
    kind = type(error).__name__
    if isinstance(error, HeadraceError):
        return f"{kind}: {error}"
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(cause).__name__}{f' (SQLSTATE {state})' if state else ''}{place}"


def all_done(count: int) -> list[Outcome]:
    """``count`` times Done, one object: it is pickled once."""
    return [Done()] * count
