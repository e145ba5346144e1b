"""What counts as repeated SQL, and what may be shown of it."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.db import query_guard
from shared.db.query_guard import REPEATS_MAX, SHAPES_MAX, Watch, shape_of, watching
from shared.metrics import REPEATED_QUERIES
from shared.settings import settings
from tests import repeated_queries


@pytest.fixture
def file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    path = tmp_path / "repeated"
    monkeypatch.setenv(repeated_queries.VARIABLE, str(path))
    settings.cache_clear()
    yield path
    repeated_queries.complaints()
    monkeypatch.undo()
    settings.cache_clear()


def ran(sql: str, times: int) -> None:
    for _ in range(times):
        query_guard._saw(None, None, sql)


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("SELECT * FROM a WHERE b = 'x'", "SELECT *  FROM a\nWHERE b = 'it''s'"),
        ("SELECT * FROM a WHERE b = 1", "SELECT * FROM a WHERE b = 20.5"),
        ("SELECT * FROM a WHERE b IN (%(b_1)s, %(b_2)s)", "SELECT * FROM a WHERE b IN (%(b_1)s, %(b_2)s, %(b_3)s)"),
        ("DELETE FROM a WHERE b IN (1, 2)", "DELETE FROM a WHERE b IN (3, 4, 5)"),
    ],
)
def test_statements_that_differ_in_values_alone_are_one_shape(one: str, other: str) -> None:
    assert shape_of(one) == shape_of(other)


def test_a_shape_shows_no_value() -> None:
    shape = shape_of("SELECT 1 FROM a1 WHERE text = 'my ''secret'' 42' AND n = 4711 AND c = %(c_1)s")
    assert shape == "SELECT ? FROM a1 WHERE text = ? AND n = ? AND c = %(c_1)s"


def test_a_statement_run_as_often_as_allowed_is_not_repeated(file: Path) -> None:
    with watching("t.t"):
        ran("SELECT 1", REPEATS_MAX)
    assert not file.exists()


def test_one_run_more_is_counted_by_task_and_written_with_its_sql(file: Path) -> None:
    before = REPEATED_QUERIES.labels("t.more")._value.get()
    with watching("t.more"):
        ran("SELECT a FROM b WHERE c = 'text of a message'", REPEATS_MAX + 1)
    assert REPEATED_QUERIES.labels("t.more")._value.get() - before == REPEATS_MAX + 1
    assert repeated_queries.complaints() == [f"t.more ran this {REPEATS_MAX + 1} times in one batch: SELECT a FROM b WHERE c = ?"]
    assert repeated_queries.complaints() == []


def test_it_is_reported_though_the_batch_raised(file: Path) -> None:
    def batch() -> None:
        with watching("t.t"):
            ran("SELECT 1", 50)
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        batch()
    assert len(repeated_queries.complaints()) == 1


def test_a_transaction_that_is_run_again_begins_anew(file: Path) -> None:
    with watching("t.t") as watch:
        for _ in range(10):
            ran("SELECT 1", REPEATS_MAX)
            query_guard.forget()
    assert watch.total == 10 * REPEATS_MAX
    assert not file.exists()


def test_outside_a_batch_nothing_is_counted(file: Path) -> None:
    ran("SELECT 1", 100)
    query_guard.forget()
    assert not file.exists()


def test_a_handler_that_writes_values_as_names_does_not_fill_the_memory() -> None:
    watch = Watch("t.t")
    for number in range(2 * SHAPES_MAX):
        watch.saw(f"SELECT a{number}")
    assert (len(watch.shapes), watch.total) == (SHAPES_MAX, 2 * SHAPES_MAX)
