"""`headrace down`: ask the supervisor to drain, wait until everything has ended, end what is left by force."""

from collections.abc import Callable
from pathlib import Path
from time import sleep

import psutil

from shared.clock import monotonic_seconds
from shared.errors import HeadraceError
from workers.local import leftovers
from workers.local.data_dir import LOCK, AlreadyRuns, claimed
from workers.local.identity import KILL_SECONDS, kill
from workers.local.record import FleetRecord, load, save

DRAIN_SECONDS = 60
"""The stages' bounds add up to less; a supervisor that takes longer hangs and is killed."""

POLL_SECONDS = 0.1


def stop(data_dir: Path, show: Callable[[FleetRecord], None]) -> bool:
    """End the fleet of ``data_dir`` and wait until nothing of it is left; False when nothing was running.

    Args:
        data_dir: absolute.
        show: called while it drains.

    Raises HeadraceError when another command holds the directory all the time.
    """
    if not (data_dir / LOCK).exists():
        return False
    supervisor: psutil.Process | None = None
    begun = monotonic_seconds()
    while True:
        record = load(data_dir)
        try:
            with claimed(data_dir):
                left = _tidy(data_dir)
        except AlreadyRuns:
            show(record)
            supervisor = supervisor or _ask_to_stop(record)
            _lose_patience(supervisor, monotonic_seconds() - begun, data_dir)
            sleep(POLL_SECONDS)
            continue
        if supervisor:
            psutil.wait_procs([supervisor], KILL_SECONDS)  # the lock was free a moment before it ended
        return supervisor is not None or left > 0


def _tidy(data_dir: Path) -> int:
    record = load(data_dir)
    left = leftovers.end_all(record)
    save(record.kept(), data_dir)
    return left


def _ask_to_stop(record: FleetRecord) -> psutil.Process | None:
    supervisor = record.supervisor.find() if record.supervisor else None
    if supervisor:
        supervisor.terminate()
    return supervisor


def _lose_patience(supervisor: psutil.Process | None, waited_seconds: float, data_dir: Path) -> None:
    if waited_seconds < DRAIN_SECONDS:
        return
    if supervisor is None or waited_seconds > DRAIN_SECONDS + KILL_SECONDS:
        raise HeadraceError(f"another command holds {data_dir}; mend: wait until it is done, then try again")
    kill([supervisor])
