"""Array parameters as the server's own array text.

psycopg's list adapter looks at each element by itself, with two regular expressions: for the ten columns of a batch that took
as long as inserting it. Here a column is a few passes over one string.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime

import msgspec

SEPARATOR = "\0"
"""In no text that PostgreSQL can store."""


def plain_array(values: Iterable[object]) -> str:
    """Values whose text holds no comma, quote, brace, backslash or space: numbers, UUIDs; None is NULL."""
    return "{" + ",".join(["NULL" if value is None else str(value) for value in values]) + "}"


def time_array(values: Sequence[datetime | None]) -> str:
    """Times with an offset; None is NULL. The text of a JSON array differs in its brackets only; `isoformat` takes ten times as
    long."""
    return "{" + msgspec.json.encode(values)[1:-1].decode() + "}"


def text_array(values: Sequence[str]) -> str:
    """Any texts without U+0000. Raises ValueError for one with it."""
    if not values:
        return "{}"
    joined = SEPARATOR.join(values)
    if joined.count(SEPARATOR) != len(values) - 1:
        raise ValueError("a text has U+0000, which PostgreSQL cannot store")
    return '{"' + joined.replace("\\", "\\\\").replace('"', '\\"').replace(SEPARATOR, '","') + '"}'


def text_or_null_array(values: Sequence[str | None]) -> str:
    """The same, where None is NULL."""
    texts = [value for value in values if value is not None]
    if len(texts) == len(values):
        return text_array(texts)
    quoted = iter(text_array((text,))[1:-1] for text in texts)
    return "{" + ",".join(["NULL" if value is None else next(quoted) for value in values]) + "}"
