"""Arrays as the server's text: whatever is in an element stays in it."""

from datetime import UTC, datetime, timedelta, timezone
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.db.arrays import plain_array, text_array, text_or_null_array, time_array

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)))


def elements(literal: str) -> list[str | None]:
    """What PostgreSQL reads in a one-dimensional array's text."""
    found: list[str | None] = []
    rest = literal[1:-1]
    while rest:
        if rest.startswith("NULL"):
            found.append(None)
            rest = rest[4:]
        else:
            assert rest[0] == '"'
            text, at = "", 1
            while rest[at] != '"':
                at += rest[at] == "\\"
                text += rest[at]
                at += 1
            found.append(text)
            rest = rest[at + 1 :]
        assert not rest or rest[0] == ","
        rest = rest[1:]
    return found


@given(st.lists(texts))
def test_every_text_is_one_element_and_stays_as_it_is(values: list[str]) -> None:
    assert elements(text_array(values)) == values


@given(st.lists(st.none() | texts))
def test_none_is_null_and_the_text_null_is_none_of_it(values: list[str | None]) -> None:
    assert elements(text_or_null_array(values)) == values


@pytest.mark.parametrize("values", [["\0"], ["a\0b", "c"], ["", "\0"]])
def test_a_text_that_cannot_be_stored_is_refused_and_shifts_no_other(values: list[str]) -> None:
    with pytest.raises(ValueError, match=r"U\+0000"):
        text_array(values)
    with pytest.raises(ValueError, match=r"U\+0000"):
        text_or_null_array([None, *values])


def test_numbers_and_ids_need_no_quotes() -> None:
    one = UUID(int=1)
    assert plain_array([1, None, one]) == f"{{1,NULL,{one}}}"
    assert plain_array([]) == "{}"


@given(st.lists(st.none() | st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=-9, minutes=-30))]))))
def test_times_keep_their_microseconds_and_their_offset(values: list[datetime | None]) -> None:
    found = elements(time_array(values).replace("null", "NULL"))
    assert [value and datetime.fromisoformat(value) for value in found] == values
    assert [value.utcoffset() for value in map(datetime.fromisoformat, filter(None, found))] == [
        value.utcoffset() for value in values if value
    ]
