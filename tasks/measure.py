"""The metrics of a settled batch, taken in the parent once a batch."""

from collections import Counter

from shared.metrics import BATCH_SECONDS, BATCH_SIZE, END_TO_END_SECONDS, MESSAGES
from shared.outcome import DeadLetter, Discard, Done, Retry
from shared.producer import VIA
from tasks.batch import Settled
from tasks.flight import Flight

LABELS = {Done: "done", Retry: "retry", Discard: "discarded", DeadLetter: "dead_letter"}


def settled(flight: Flight, answer: Settled) -> Counter[str]:
    """Record the batch; returns how many messages had which outcome."""
    counts = Counter(LABELS[type(outcome)] for outcome in answer.outcomes)
    for label, count in counts.items():
        MESSAGES.labels(flight.kind, label).inc(count)
    BATCH_SIZE.labels(flight.kind).observe(len(flight.members))
    BATCH_SECONDS.labels(flight.kind).observe(answer.seconds)
    for pending, outcome in zip(flight.members, answer.outcomes, strict=True):
        if isinstance(outcome, Done):
            via = pending.headers.get(VIA)
            label = via if via in ("webhook", "api") else "celery"
            END_TO_END_SECONDS.labels(label).observe(max(0.0, answer.ended_at - pending.received_at))
    return counts
