"""What a running supervisor is asked to do: files in ``control/`` of the data directory, replaced as a whole.

It looks once a second. Files and no socket: who asks need not be there when it is done, and a data directory's path may be
longer than a socket's.
"""

import os
from pathlib import Path
from typing import TypeVar

import msgspec
from msgspec import Struct

T = TypeVar("T")

DIRECTORY = "control"


class Wanted(Struct):
    """How many store workers there should be."""

    workers: int


class Restart(Struct):
    """Start every process anew, one after the other.

    Args:
        id: of the request; the answer in fleet.json carries it.
        names: only these; empty: all but the servers.
    """

    id: str
    names: list[str] = []


def prepare(data_dir: Path) -> None:
    """Nothing is asked."""
    directory = data_dir / DIRECTORY
    directory.mkdir(mode=0o700, exist_ok=True)
    for file in directory.iterdir():
        file.unlink()


def want_workers(data_dir: Path, workers: int) -> None:
    """Ask for so many. Raises OSError when no supervisor prepared the directory."""
    _replace(data_dir / DIRECTORY / "workers", Wanted(workers))


def wanted_workers(data_dir: Path) -> int | None:
    """How many were asked for last; None when nobody did."""
    wanted = _read(data_dir / DIRECTORY / "workers", Wanted)
    return wanted.workers if wanted else None


def ask_restart(data_dir: Path, request: Restart) -> None:
    """Ask for it; an earlier request that is under way is finished first. Raises OSError."""
    _replace(data_dir / DIRECTORY / "restart", request)


def restart_asked(data_dir: Path) -> Restart | None:
    """The latest request."""
    return _read(data_dir / DIRECTORY / "restart", Restart)


def _replace(file: Path, value: Struct) -> None:
    draft = file.with_suffix(f".{os.getpid()}")
    draft.write_bytes(msgspec.json.encode(value))
    draft.replace(file)


def _read(file: Path, kind: type[T]) -> T | None:
    try:
        return msgspec.json.decode(file.read_bytes(), type=kind)
    except (OSError, msgspec.MsgspecError):
        return None
