"""A worker's task module that slows the storing of messages: a child does 150 a second at most, a worker of two children 300.

For HEADRACE_TASK_MODULES; the process runs in the repository's root.
"""

import threading
from collections.abc import Sequence

from shared.app import app
from shared.outcome import Outcome
from tasks.member import Member
from tests.slowed_rate import CHILD_RATE

_store = app.tasks["messages.store"]
_run = _store.run
_never = threading.Event()


def _slowed(members: list[Member]) -> Sequence[Outcome]:
    _never.wait(len(members) / CHILD_RATE)
    outcomes: Sequence[Outcome] = _run(members)
    return outcomes


_store.run = _slowed
