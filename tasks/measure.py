"""The metrics of a batch: what the parent knows once it is settled, and what a child knows of its messages."""

from collections import Counter
from collections.abc import Iterable

from shared.metrics import BATCH_SECONDS, BATCH_SIZE, END_TO_END_SECONDS, MESSAGES, REDELIVERIES, observe_all
from shared.outcome import DeadLetter, Discard, Done, Outcome, Retry

LABELS: dict[type, str] = {Done: "done", Retry: "retry", Discard: "discarded", DeadLetter: "dead_letter"}

VIAS = ("webhook", "api")
"""What our own producers say; everybody else's messages came by Celery."""


def begin(kinds: Iterable[str]) -> None:
    """Show 0 for what has not happened yet: of a counter that appears with its first count, no rate sees that."""
    for kind in kinds:
        REDELIVERIES.labels(kind)
        for label in LABELS.values():
            MESSAGES.labels(kind, label)


def settled(kind: str, outcomes: Iterable[Outcome], seconds: float) -> Counter[str]:
    """Record a batch; returns how many messages had which outcome."""
    counts = Counter(LABELS[type(outcome)] for outcome in outcomes)
    for label, count in counts.items():
        MESSAGES.labels(kind, label).inc(count)
    BATCH_SIZE.labels(kind).observe(counts.total())
    BATCH_SECONDS.labels(kind).observe(seconds)
    return counts


def committed(ages: Iterable[tuple[str, float]]) -> None:
    """Record for each message that is done its way in and the seconds from accepted to committed."""
    seconds: dict[str, list[float]] = {}
    for via, age in ages:
        seconds.setdefault(via if via in VIAS else "celery", []).append(max(0.0, age))
    for via, values in seconds.items():
        observe_all(END_TO_END_SECONDS.labels(via), values)
