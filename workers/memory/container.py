"""How near the container's memory limit is: what the kernel would kill us for, read from the cgroup file system.

Version 2, or version 1 where the memory controller is mounted so. A limit may stand anywhere above us, so every level up to the
root is read, and the one nearest to its limit counts. File cache that the kernel can drop (``inactive_file``) is no need.
"""

import os
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath
from typing import NamedTuple

MEMBERSHIP = Path("/proc/self/cgroup")
UNLIMITED_BYTES = 1 << 60
"""Version 1 says "no limit" by a number near 2**63."""


class Container(NamedTuple):
    """A limit and what counts against it, in bytes."""

    limit: int
    used: int

    @property
    def fraction(self) -> float:
        """1.0 is where the kernel kills."""
        return self.used / self.limit


class Names(NamedTuple):
    """What a version calls its files, and the line of ``memory.stat`` that counts droppable file cache."""

    limit: str
    used: str
    droppable: bytes


VERSION_2 = Names("memory.max", "memory.current", b"inactive_file")
VERSION_1 = Names("memory.limit_in_bytes", "memory.usage_in_bytes", b"total_inactive_file")


class Level(NamedTuple):
    """A level that has a limit: it in bytes, the file that tells what is used, and the one that tells what can be dropped."""

    limit: int
    used: str
    stat: str
    droppable: bytes


def limited(root: Path, membership: Path = MEMBERSHIP) -> list[Level]:
    """The levels that have a limit, from ours upwards; none without a cgroup file system.

    Args:
        root: where it is mounted, usually ``/sys/fs/cgroup``.
        membership: the file that says where we are in it.
    """
    return [level for directory, names in _levels(root, membership) if (level := _level(directory, names))]


def nearest(levels: Iterable[Level]) -> Container | None:
    """The level nearest to its limit, now; None when there is none."""
    found = [container for level in levels if (container := _read(level))]
    return max(found, key=lambda each: each.fraction, default=None)


def _levels(root: Path, membership: Path) -> Iterator[tuple[Path, Names]]:
    lines = [line.split(":", 2) for line in _text(membership).splitlines() if line.count(":") >= 2]
    for _, controllers, path in lines:
        if "memory" in controllers.split(","):
            yield from ((root / "memory" / each, VERSION_1) for each in _upwards(path))
        elif not controllers:
            yield from ((root / each, VERSION_2) for each in _upwards(path))


def _upwards(path: str) -> Iterator[PurePosixPath]:
    """From ``path`` to the root. A container may see its own level as the root, so a level may not be there."""
    inside = PurePosixPath(path.lstrip("/"))
    if ".." in inside.parts:  # outside of what this container may see
        inside = PurePosixPath()
    yield from (inside, *inside.parents)


def _level(directory: Path, names: Names) -> Level | None:
    try:
        limit = int(_text(directory / names.limit))
    except ValueError:  # not there, or "max"
        return None
    if not 0 < limit < UNLIMITED_BYTES:
        return None
    return Level(limit, str(directory / names.used), str(directory / "memory.stat"), names.droppable)


def _read(level: Level) -> Container | None:
    try:
        used = int(_text(level.used))
    except ValueError:  # gone
        return None
    droppable = 0
    for line in _text(level.stat).encode().splitlines():
        name, _, value = line.partition(b" ")
        if name == level.droppable:
            droppable = int(value)
    return Container(level.limit, max(0, used - droppable))


def _text(file: Path | str) -> str:
    """Without Python's buffered files, whose locks a fork could copy in a locked state."""
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(descriptor, 1 << 16).decode(errors="replace")
    except OSError:
        return ""
    finally:
        os.close(descriptor)
