"""When a change becomes known: with the commit of the transaction that made it, neither before nor without."""

from collections.abc import Iterator, Sequence

import pytest
from sqlalchemy import create_engine, text
from sqlalchemy.orm import Session

from shared.cache import tiers
from shared.cache.change import Change, after_commit

ONE, TWO = Change(tags=("one",)), Change(tags=("two",))


class Told:
    """Stands for the process's caches."""

    def __init__(self) -> None:
        self.changes: list[Change] = []

    def tell(self, changes: Sequence[Change]) -> bool:
        self.changes += changes
        return True


@pytest.fixture
def told(monkeypatch: pytest.MonkeyPatch) -> Told:
    it = Told()
    monkeypatch.setattr(tiers, "tiers", lambda: it)
    return it


@pytest.fixture
def session() -> Iterator[Session]:
    with Session(create_engine("sqlite://")) as it:
        it.execute(text("SELECT 1"))
        yield it


def test_a_change_is_told_once_with_the_commit_and_a_second_one_with_its_own(session: Session, told: Told) -> None:
    after_commit(session, ONE)
    assert told.changes == []
    session.commit()
    assert told.changes == [ONE]
    after_commit(session, TWO)
    session.commit()
    assert told.changes == [ONE, TWO]


def test_a_change_that_was_rolled_back_is_not_told(session: Session, told: Told) -> None:
    after_commit(session, ONE)
    session.rollback()
    session.commit()
    assert told.changes == []


def test_a_savepoint_that_is_released_tells_nothing_before_the_commit(session: Session, told: Told) -> None:
    with session.begin_nested():
        after_commit(session, ONE)
    assert told.changes == []
    session.commit()
    assert told.changes == [ONE]


def test_going_back_to_a_savepoint_loses_no_change_made_before_it(session: Session, told: Told) -> None:
    after_commit(session, ONE)
    session.begin_nested().rollback()
    session.commit()
    assert told.changes == [ONE]


def test_a_savepoint_s_changes_end_with_the_transaction(session: Session, told: Told) -> None:
    with session.begin_nested():
        after_commit(session, ONE)
    session.rollback()
    session.commit()
    assert told.changes == []
