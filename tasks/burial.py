"""Keeping what is given up on: dead letters, whole and with their history, committed before the acknowledgement."""

from collections.abc import Sequence
from contextlib import suppress

import msgspec

from shared.clock import utc_now
from shared.db.session import transact
from shared.errors import InvalidMessage
from shared.message import decode
from shared.outcome import DeadLetter, Outcome
from shared.store import dead_letters
from tasks.member import Member


class Names(msgspec.Struct):
    """What a dead letter is found by, as far as it can be read."""

    account_id: str | None = None
    message_id: str | None = None


def bury(members: Sequence[Member], outcomes: Sequence[Outcome], worker: str) -> None:
    """Keep the members whose outcome is DeadLetter."""
    letters = [
        _letter(member, outcome.reason, worker)
        for member, outcome in zip(members, outcomes, strict=True)
        if isinstance(outcome, DeadLetter)
    ]
    if letters:
        transact(lambda session: dead_letters.bury(session, letters), idempotent=True)


def _letter(member: Member, reason: str, worker: str) -> dead_letters.Letter:
    names = Names()
    with suppress(InvalidMessage):  # what cannot be read is kept all the same
        names = decode(member.argument, Names)
    last = {"at": utc_now().isoformat(), "outcome": "dead letter", "reason": reason, "worker": worker}
    return dead_letters.Letter(
        queue=member.wire.queue,
        task=member.task,
        task_id=member.task_id,
        account_id=_short(names.account_id),
        message_id=_short(names.message_id),
        reason=reason,
        history=[*member.wire.history, last],
        headers=member.headers,
        body=member.body,
    )


def _short(name: str | None) -> str | None:
    return name.replace("\0", "")[:255] if name else None
