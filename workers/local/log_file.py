"""The log file of a process: appended to, and kept bounded by copying it aside and emptying it in place."""

import shutil
from pathlib import Path
from typing import BinaryIO

LOG_BYTES_MAX = 16 * 2**20
"""Of one log; with the one before it a process takes twice this on disk at most, plus what it writes between two looks."""

TAIL_LINES = 12


def open_log(log: Path) -> BinaryIO:
    """``log``, opened for appending; created readable by us alone."""
    keep_bounded(log)
    log.touch(mode=0o600)
    return log.open("ab")


def keep_bounded(log: Path) -> None:
    """Move the content of a log that grew over its bound to ``NAME.log.1``; writers keep their open file."""
    if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
        shutil.copy(log, log.with_name(log.name + ".1"))
        with log.open("r+b") as file:
            file.truncate()


def tail(log: Path) -> str:
    """The last lines of a log, for a message about why its process failed."""
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8192))
            return "\n".join(file.read().decode(errors="replace").splitlines()[-TAIL_LINES:])
    except OSError:
        return ""
