"""What the command line prints: aligned text for people, JSON for scripts; and the one question it asks."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from difflib import get_close_matches
from typing import Any

import click
import orjson

from shared.errors import HeadraceError

json_option = click.option("--json", "as_json", is_flag=True, help="Print JSON, for scripts.")


def print_json(value: Any) -> None:
    """``value`` as indented JSON; times in RFC 3339 with Z."""
    click.echo(orjson.dumps(value, option=orjson.OPT_INDENT_2 | orjson.OPT_UTC_Z).decode())


def print_record(record: Mapping[str, Any], *, as_json: bool) -> None:
    """One thing: a line for each of its fields."""
    if as_json:
        print_json(record)
        return
    width = max(len(name) for name in record)
    for name, value in record.items():
        click.echo(f"{name:{width}}  {cell(value)}")


def print_records(records: Sequence[Mapping[str, Any]], columns: Sequence[str], *, as_json: bool) -> None:
    """Many things: a table of their ``columns``, or all of their fields as JSON.

    Never cut to the terminal's width: ids are there to be copied.
    """
    if as_json:
        print_json(records)
        return
    rows = [[cell(record[column]) for column in columns] for record in records]
    widths = [max(len(text) for text in texts) for texts in zip(columns, *rows, strict=True)]
    for row in (columns, *rows):
        click.echo("  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip())


def cell(value: Any) -> str:
    """``value`` as a word of one line. What senders chose is shown escaped where it could steer a terminal."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, datetime):
        return value.strftime("%Y-%m-%d %H:%M:%S")
    if isinstance(value, dict | list):
        value = orjson.dumps(value).decode()
    return "".join(char if char.isprintable() else char.encode("unicode_escape").decode() for char in str(value))


def confirm(question: str, *, yes: bool) -> None:
    """Go on only after a yes. Raises HeadraceError when there is none, or nobody to ask."""
    if yes:
        return
    try:
        agreed = click.confirm(question, err=True)
    except click.Abort:
        raise HeadraceError("nobody answered, so nothing was changed; --yes answers in advance") from None
    if not agreed:
        raise HeadraceError("nothing was changed")


def did_you_mean(word: str, words: Iterable[str]) -> str:
    """The end of an error message: the nearest of ``words``, or nothing when none is near."""
    near = get_close_matches(word, list(words), n=1)
    return f"; did you mean {near[0]!r}?" if near else ""


def first_line(error: BaseException | None) -> str:
    """An error's text up to its first line break, or its kind when it has none."""
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
