"""A handler with an N+1, and a test that would pass: run by test_query_guard.py to show that the suite fails by it.

Not collected otherwise: its name does not begin with ``test_``.
"""

import pytest
from sqlalchemy import text

from shared.db.session import read_session
from shared.outcome import Outcome
from tasks.batch import Member, all_done, batch_task, run
from tests.batches import wires

NAME_OF = text("SELECT id, name FROM contacts WHERE external_id = :author")


@batch_task("planted.count")
def planted(members: list[Member]) -> list[Outcome]:
    """Asks for each message by itself."""
    with read_session() as session:
        for member in members:
            session.execute(NAME_OF, {"author": member.task_id})
    return all_done(len(members))


@pytest.mark.usefixtures("clean")
def test_that_has_no_other_fault() -> None:
    settled = run(wires("planted.count", [{"id": number} for number in range(20)]), "here")
    assert len(settled.outcomes) == 20
