"""Recorded load, from a file: how many messages came in each second.

JSON: an array of numbers. CSV: one line a second, the number last (``second,arrivals`` or ``arrivals``); a first line of words
is a heading.
"""

import csv
from pathlib import Path

import msgspec

from shared.errors import HeadraceError

SECONDS_MAX = 7 * 86_400
"""A week; 10 s of simulating."""

ARRIVALS_MAX = 1_000_000
"""In one second: more than any fleet of one broker takes."""


class BadLoad(HeadraceError):
    """The file does not hold load. The message names the line and says what is expected."""


def read(file: Path, step: int = 1) -> list[int]:
    """Messages in each second, where each number of the file lasts ``step`` seconds. Raises BadLoad."""
    try:
        text = file.read_text()
    except (OSError, UnicodeDecodeError) as error:
        raise BadLoad(f"{file} cannot be read: {error}") from None
    arrivals = _from_json(text, file) if text.lstrip().startswith("[") else _from_csv(text, file)
    if not arrivals or len(arrivals) * step > SECONDS_MAX:
        raise BadLoad(f"{file} holds {len(arrivals) * step} seconds; 1 to {SECONDS_MAX} can be replayed")
    return [messages for messages in arrivals for _ in range(step)]


def _from_json(text: str, file: Path) -> list[int]:
    try:
        numbers = msgspec.json.decode(text, type=list[float])
    except msgspec.MsgspecError as error:
        raise BadLoad(f"{file} is no JSON array of messages a second: {error}") from None
    return [_checked(number, f"{file}, second {second}") for second, number in enumerate(numbers)]


def _from_csv(text: str, file: Path) -> list[int]:
    arrivals = []
    for line, row in enumerate(csv.reader(text.splitlines()), start=1):
        if not row or (line == 1 and not _is_number(row[-1])):
            continue
        if not _is_number(row[-1]):
            raise BadLoad(f"{file}, line {line}: {row[-1]!r} is no number of messages; write second,arrivals")
        arrivals.append(_checked(float(row[-1]), f"{file}, line {line}"))
    return arrivals


def _is_number(word: str) -> bool:
    try:
        float(word)
    except ValueError:
        return False
    return True


def _checked(number: float, where: str) -> int:
    if not 0 <= number <= ARRIVALS_MAX:
        raise BadLoad(f"{where}: {number:g} messages in a second; 0 to {ARRIVALS_MAX} can be replayed")
    return round(number)
