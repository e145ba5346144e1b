"""What grew between two pictures of a process's memory: by the line that allocated it, and by type. Never what is in it."""

import gc
import tracemalloc
from collections import Counter
from typing import NamedTuple

from msgspec import Struct

FRAMES = 6
"""Of each allocation's stack: enough to name who called a library, at half again the cost of one."""
SHOWN = 15
"""Lines and types in a report."""
OUTSIDE = ("site-packages", "/lib/python", "<frozen", "<string>")
"""What a file name contains that is not the application's."""


class Line(Struct, frozen=True):
    """One place that allocates.

    Args:
        place: ``file:line`` of the allocation.
        called_from: the nearest line of the application's own, when the place is in a library.
        bytes: more than before.
        blocks: more than before.
    """

    place: str
    called_from: str
    bytes: int
    blocks: int


class Type(Struct, frozen=True):
    """A type and how many more of its objects there are. Only containers: the collector does not know of strings and bytes."""

    name: str
    more: int


class Picture(NamedTuple):
    """One moment."""

    traced: tracemalloc.Snapshot
    traced_bytes: int
    types: Counter[str]


def picture() -> Picture:
    """Now. Takes a second or so, and the process's other threads wait for most of it. Tracing must be on."""
    gc.collect()
    types = Counter(map(type, gc.get_objects()))
    named: Counter[str] = Counter()
    for kind, count in types.items():
        named[f"{kind.__module__}.{kind.__qualname__}"] += count
    traced_bytes, _ = tracemalloc.get_traced_memory()
    return Picture(tracemalloc.take_snapshot(), traced_bytes, named)


def growing_lines(before: Picture, after: Picture, ours: tuple[str, ...]) -> list[Line]:
    """The places whose memory grew, most first.

    Args:
        ours: files of the profiler itself, left out.
    """
    hidden = [tracemalloc.Filter(False, name) for name in (*ours, tracemalloc.__file__)]
    old, new = (each.traced.filter_traces(hidden) for each in (before, after))
    differences = new.compare_to(old, "traceback")
    merged: dict[tuple[str, str], list[int]] = {}
    for each in differences:
        total = merged.setdefault(_places(each.traceback), [0, 0])
        total[0] += each.size_diff
        total[1] += each.count_diff
    lines = [Line(place, caller, size, count) for (place, caller), (size, count) in merged.items() if size > 0]
    return sorted(lines, key=lambda line: line.bytes, reverse=True)[:SHOWN]


def growing_types(before: Picture, after: Picture) -> list[Type]:
    """The types of which there are more, most first."""
    more = {name: count - before.types[name] for name, count in after.types.items()}
    grown = [Type(name, count) for name, count in more.items() if count > 0]
    return sorted(grown, key=lambda each: each.more, reverse=True)[:SHOWN]


def _places(stack: tracemalloc.Traceback) -> tuple[str, str]:
    """Where it was allocated, and the nearest frame of the application's own when that is elsewhere."""
    frames = list(reversed(list(stack)))  # the most recent first
    place = f"{frames[0].filename}:{frames[0].lineno}"
    for frame in frames:
        if not any(word in frame.filename for word in OUTSIDE):
            caller = f"{frame.filename}:{frame.lineno}"
            return place, "" if caller == place else caller
    return place, ""
