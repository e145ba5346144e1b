"""The account of every message: pure counting over what was sent and what the database holds.

Words: *accepted* was acknowledged (a 202, or `send_task` returned); *rejected* was sent and never acknowledged within the
retries' bound, so it may or may not be stored and neither is a fault (*uncertain*, in the report, are those whose answers
leave it open); *lost* was accepted and is neither stored nor dead-lettered; *duplicated* counts rows beyond one of an id;
*reordered* counts accepted messages that stand behind one of their conversation that was sent later; *miscounted* counts
conversations whose `message_count` is not their number of rows, or whose sequence has a gap or a repeat.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

ROWS_MAX = 255
"""Rows of one id that are told apart: more count as this many."""


class Row(NamedTuple):
    """A stored message.

    Args:
        number: which of the run's messages, from 0 on.
        conversation: the conversation, by any key.
        sequence: the place that the store gave it.
        ordinal: the place in which it was sent, from its metadata; 0 when that is gone.
    """

    number: int
    conversation: int
    sequence: int
    ordinal: int


class Fate(NamedTuple):
    """How many messages met which end."""

    sent: int
    accepted: int
    rejected: int
    stored: int
    dead_lettered: int
    lost: int
    duplicated: int
    reordered: int
    miscounted: int

    def faults(self) -> list[str]:
        """What is wrong, in words; empty when every message was stored once and in order, or dead-lettered."""
        nouns = {"lost": "message", "duplicated": "message", "reordered": "message", "miscounted": "conversation"}
        counts = [(getattr(self, fault), noun, fault) for fault, noun in nouns.items()]
        return [f"{count:,} {noun}{'s' * (count != 1)} {fault}" for count, noun, fault in counts if count]


class Audit:
    """Counts rows as they are read, so that a run needs two bytes a message and not a row.

    Args:
        accepted: for each message of the run: 1 when it was accepted, else 0.
        sent: how many were sent.
    """

    def __init__(self, accepted: Sequence[int], sent: int) -> None:
        self._accepted = accepted
        self._sent = sent
        self._rows = bytearray(len(accepted))
        self._dead = bytearray(len(accepted))
        self._reordered = 0
        self._gapless: dict[int, int] = {}
        self._broken: set[int] = set()
        self._conversation: int | None = None
        self._latest = 0

    def row(self, row: Row) -> None:
        """Take in a row; rows come by conversation and, within it, by sequence."""
        if row.conversation != self._conversation:
            self._conversation, self._latest = row.conversation, 0
        self._rows[row.number] = min(self._rows[row.number] + 1, ROWS_MAX)
        rows = self._gapless.get(row.conversation, 0) + 1
        self._gapless[row.conversation] = rows
        if row.sequence != rows:
            self._broken.add(row.conversation)
        if self._accepted[row.number]:
            if row.ordinal < self._latest:
                self._reordered += 1
            self._latest = max(self._latest, row.ordinal)

    def dead(self, number: int) -> None:
        """Take in a dead letter."""
        self._dead[number] = 1

    def fate(self, message_counts: Mapping[int, int]) -> Fate:
        """The account. ``message_counts``: what each conversation says of itself."""
        wrong = {key for key, count in message_counts.items() if count != self._gapless.get(key, 0)}
        absent = self._gapless.keys() - message_counts.keys()
        accepted = sum(self._accepted)
        whole = zip(self._accepted, self._rows, self._dead, strict=True)
        return Fate(
            sent=self._sent,
            accepted=accepted,
            rejected=self._sent - accepted,
            stored=len(self._rows) - self._rows.count(0),
            dead_lettered=sum(self._dead),
            lost=sum(1 for taken, rows, dead in whole if taken and not rows and not dead),
            duplicated=sum(rows - 1 for rows in self._rows if rows > 1),
            reordered=self._reordered,
            miscounted=len(wrong | absent | self._broken),
        )
