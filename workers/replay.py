"""Replaying dead letters: publish, wait for the broker's confirmation, then delete the letter.

In that order a crash in between repeats a message, which has no effect; the other order would lose it. The repetition has
the same id, made from the letter's, so that a message which fails again leaves one new dead letter and not two.
"""

from collections.abc import Callable, Iterator
from functools import partial
from typing import NamedTuple
from uuid import NAMESPACE_OID, uuid5

from shared.clock import monotonic_seconds
from shared.db.models import DeadLetterRow
from shared.db.session import read_session, transact
from shared.envelope import Enqueued, replayed
from shared.producer import Producer
from shared.settings import settings
from shared.store import dead_letters
from shared.store.dead_letters import Filter

AT_ONCE_MAX = 50
"""Letters in memory and in one write to the broker: a body has up to 1 MiB."""


class Progress(NamedTuple):
    """Letters ``replayed`` so far, and those ``skipped`` because no worker could take them."""

    replayed: int
    skipped: int


def is_replayable(letter: DeadLetterRow) -> bool:
    """False for what was never a Celery message of a queue: published again, it would fail again, or wait for nobody."""
    return isinstance(letter.headers.get("task"), str) and letter.queue in settings().queues


def replay(
    producer: Producer, wanted: Filter, *, rate: float, limit: int, sleep: Callable[[float], object]
) -> Iterator[Progress]:
    """Replay the letters that fit, oldest first, and report after each group.

    Args:
        wanted: should have `up_to`, or letters that fail again at once are replayed for ever.
        rate: messages a second, above 0.
        limit: at most so many letters, skipped ones included.
        sleep: waits for that many seconds.

    Raises BrokerUnavailable; what is not reported replayed is still kept.
    """
    done, skipped, after = 0, 0, 0
    started = monotonic_seconds()
    while (room := limit - done - skipped) > 0:
        with read_session() as session:
            letters = dead_letters.page(session, wanted, limit=min(room, AT_ONCE_MAX, max(1, int(rate))), after=after)
        if not letters:
            return
        after = letters[-1].id
        fit = [letter for letter in letters if is_replayable(letter)]
        if fit:
            producer.publish([_message(letter) for letter in fit])
            transact(partial(dead_letters.remove, ids=[letter.id for letter in fit]))
        done, skipped = done + len(fit), skipped + len(letters) - len(fit)
        yield Progress(done, skipped)
        sleep(max(0.0, started + done / rate - monotonic_seconds()))


def _message(letter: DeadLetterRow) -> Enqueued:
    task_id = str(uuid5(NAMESPACE_OID, f"headrace dead letter {letter.id} {letter.task_id}"))
    return replayed(letter.queue, task_id, letter.headers, letter.body)
