"""Who makes it so: the supervisor of `headrace up` on this machine, or nobody here.

On Kubernetes it is KEDA, which reads the metric: then this process only says how many there should be.
"""

from pathlib import Path
from typing import Protocol

from shared.errors import HeadraceError
from shared.log import get_logger
from workers.autoscaler.memory import available_bytes
from workers.local import control
from workers.local.identity import family
from workers.local.record import FleetRecord, load
from workers.memory.pss import pss_bytes

WORKER_BYTES = 160 * 2**20
"""What a worker takes, parent and two children, until it was measured."""

log = get_logger(__name__)


class Actuator(Protocol):
    """Has so many workers run."""

    def wanted(self) -> int | None:
        """How many were asked for before this process began; None when it is not known."""

    def set(self, workers: int) -> None:
        """Have so many. Called again and again with the same number."""

    def room(self) -> int | None:
        """Further workers that the host's memory has room for; None when that is not for us to say."""


class LocalFleet:
    """The store workers of a data directory's fleet.

    Args:
        data_dir: of a running fleet.
        reserve_bytes: of the host's memory that workers may not take.
    """

    def __init__(self, data_dir: Path, reserve_bytes: int) -> None:
        self._data_dir = data_dir
        self._reserve_bytes = reserve_bytes

    def wanted(self) -> int | None:
        return control.wanted_workers(self._data_dir)

    def set(self, workers: int) -> None:
        if control.wanted_workers(self._data_dir) == workers:
            return
        try:
            control.want_workers(self._data_dir, workers)
        except OSError as error:
            log.warning("the fleet cannot be asked", data_dir=str(self._data_dir), reason=error.strerror)

    def room(self) -> int | None:
        """By the mean proportional set size of the workers that run."""
        try:
            sizes = _worker_sizes(load(self._data_dir))
        except HeadraceError:
            sizes = []
        each = max(1, sum(sizes) // len(sizes)) if sizes else WORKER_BYTES
        return (available_bytes() - self._reserve_bytes) // each


class Nobody:
    """Only the metric tells."""

    def wanted(self) -> int | None:
        return None

    def set(self, workers: int) -> None:
        """Somebody reads `headrace_autoscaler_target`."""

    def room(self) -> int | None:
        return None


def _worker_sizes(record: FleetRecord) -> list[int]:
    workers = [each.process for each in record.processes if each.process and each.name.startswith("worker-")]
    return [sum(pss_bytes(process.pid) or 0 for process in family(worker.identity)) for worker in workers]
