"""The counter files of processes that ended, folded into one file of each kind.

prometheus-client keeps a process's counters in files named by its pid and reads them all at a scrape; children that are replaced
would leave three files each for ever. Folding adds a dead process's values to ``KIND_folded-N.db`` and removes its files.

One process folds at a time, and none while somebody reads: `held` is a lock on a file beside them. A process may die anywhere in
between: a folded file is complete before it gets its name, and until then what went into it is set aside under a name that
carries its number, so the next one to fold knows whether that still counts (`_recover`).
"""

import fcntl
import os
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

LOCK_FILE = "fold.lock"
ADDED = ("counter", "histogram", "summary")
"""Kinds whose values are added up. A gauge is what a process says now: it ends with the process (`shared.metrics`)."""
FOLDED, ASIDE = "folded-", ".aside-"

_open_locks: set[int] = set()


def _close_inherited() -> None:
    """A lock belongs to an open file, which a fork shares: a child that kept it would hold the lock for as long as it lives."""
    for descriptor in _open_locks:
        os.close(descriptor)
    _open_locks.clear()


os.register_at_fork(after_in_child=_close_inherited)


@contextmanager
def held(directory: Path, *, to_read: bool) -> Iterator[bool]:
    """The directory's lock: shared and waited for ``to_read``; else alone and only if it is free. Whether it is held."""
    descriptor = os.open(directory / LOCK_FILE, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    _open_locks.add(descriptor)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_SH if to_read else fcntl.LOCK_EX | fcntl.LOCK_NB)
        yield True
    except BlockingIOError:
        yield False
    finally:
        _open_locks.discard(descriptor)
        os.close(descriptor)


def fold(directory: Path, is_dead: Callable[[int], bool], values: type[Any]) -> bool:
    """Fold the files of every process that ended; False when somebody reads, so that it is to be tried again.

    Args:
        directory: where the files are.
        is_dead: whether there is no process of this pid.
        values: prometheus-client's MmapedDict, the files' format.
    """
    with held(directory, to_read=False) as ours:
        if not ours:
            return False
        for kind in ADDED:
            number = _recover(directory, kind)
            files = [file for file in directory.glob(f"{kind}_*.db") if (pid := _pid(file, kind)) is not None and is_dead(pid)]
            if files:
                _fold(directory, kind, files, number, values)
    return True


def pids(directory: Path) -> set[int]:
    """Of the processes that have files here."""
    last = (file.stem.rsplit("_", 1)[-1] for file in directory.glob("*_*.db"))
    return {int(each) for each in last if each.isdecimal()}


def _fold(directory: Path, kind: str, files: Iterable[Path], number: int, values: type[Any]) -> None:
    before, after = _folded(directory, kind, number), _folded(directory, kind, number + 1)
    aside = [file.rename(file.with_name(f"{file.name}{ASIDE}{number + 1}")) for file in files]
    draft = after.with_suffix(".draft")
    draft.unlink(missing_ok=True)
    sum_of = values(str(draft))
    for file in [*([before] if before.exists() else []), *aside]:
        for key, value, _, _ in values.read_all_values_from_file(str(file)):
            sum_of.write_value(key, sum_of.read_value(key)[0] + value, 0.0)
    sum_of.close()
    draft.rename(after)
    for file in [before, *aside]:
        file.unlink(missing_ok=True)


def _recover(directory: Path, kind: str) -> int:
    """Finish or undo what a process that died left half done; the number of the newest folded file, 0 for none."""
    numbers = [int(file.stem.partition(FOLDED)[2]) for file in directory.glob(f"{kind}_{FOLDED}*.db")]
    newest = max(numbers, default=0)
    for number in numbers:
        if number != newest:
            _folded(directory, kind, number).unlink()
    for file in directory.glob(f"{kind}_*{ASIDE}*"):
        name, _, number_text = file.name.partition(ASIDE)
        if int(number_text) <= newest:
            file.unlink()
        else:
            file.rename(file.with_name(name))
    return newest


def _folded(directory: Path, kind: str, number: int) -> Path:
    return directory / f"{kind}_{FOLDED}{number}.db"


def _pid(file: Path, kind: str) -> int | None:
    pid = file.stem.removeprefix(f"{kind}_")
    return int(pid) if pid.isdecimal() else None
