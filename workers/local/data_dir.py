"""The data directory: made, of a known version, and claimed by one supervisor at a time."""

import fcntl
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from shared.errors import HeadraceError

VERSION = 1
"""Of the directory's layout. Raise it when a newer Headrace cannot use an older directory as it is."""

LOCK = "lock"


class AlreadyRuns(HeadraceError):
    """A fleet, or a `down`, holds the data directory. Stop it, or use another directory."""


@contextmanager
def claimed(data_dir: Path) -> Iterator[None]:
    """Hold ``data_dir`` alone, having made it if need be. The lock ends with the process, however that ends.

    Raises AlreadyRuns when somebody else holds it, HeadraceError when it is of another version.
    """
    make(data_dir)
    descriptor = os.open(data_dir / LOCK, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        if not _lock(descriptor):
            raise AlreadyRuns(
                f"a fleet runs in {data_dir} already (pid {os.pread(descriptor, 20, 0).decode()}); "
                f"mend: `headrace down --data-dir {data_dir}`, or use another --data-dir and --port"
            )
        _require_version(data_dir)
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode(), 0)
        yield
    finally:
        os.close(descriptor)


def _lock(descriptor: int) -> bool:
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def make(data_dir: Path) -> None:
    """Make ``data_dir`` when it is not there. Raises HeadraceError when we could not work in it."""
    try:
        if not data_dir.exists():
            data_dir.mkdir(parents=True)
            # Others may pass through, not look: as root, Postgres is another user. What is inside is closed, piece by piece.
            data_dir.chmod(0o711)
    except OSError as error:
        raise HeadraceError(f"{data_dir} cannot be made: {error.strerror}; mend: use another --data-dir") from None
    if not os.access(data_dir, os.W_OK | os.X_OK):
        raise HeadraceError(f"{data_dir} is not writable for this user; mend: use another --data-dir")


def _require_version(data_dir: Path) -> None:
    file = data_dir / "version"
    if not file.exists():
        file.write_text(f"{VERSION}\n")
    found = file.read_text().strip()
    if found != str(VERSION):
        raise HeadraceError(
            f"{data_dir} has layout version {found}, this Headrace uses {VERSION}; "
            "mend: use the Headrace that made it, or move it away to begin anew"
        )
