"""What the doctor found: one thing that is wrong or worth knowing, and what to do about it."""

from typing import NamedTuple

WRONG = "wrong"
"""Messages are in danger, or the fleet does not do its work: mend it now."""
NOTE = "note"
"""Somebody should know; may be meant so."""


class Finding(NamedTuple):
    """One thing.

    Args:
        target: whom it is about: ``settings``, ``broker``, ``cache``, ``database``, ``replica``, ``workers`` or ``queues``.
        level: WRONG or NOTE.
        problem: what is so, with its figures, and what follows from it.
        fix: what to do.
    """

    target: str
    level: str
    problem: str
    fix: str


class Diagnosis(NamedTuple):
    """All of it.

    Args:
        asked: who was asked, and a line of what it is; None: it did not answer.
        findings: the worst first.
    """

    asked: dict[str, str | None]
    findings: list[Finding]

    @property
    def ok(self) -> bool:
        """Whether nothing is wrong."""
        return not any(finding.level == WRONG for finding in self.findings)
