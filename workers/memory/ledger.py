"""What the guard remembers of its processes: when each child was first seen, how large it was then, how large it is now."""

from dataclasses import dataclass

from workers.memory.policy import Instance, Process
from workers.memory.sampler import Reading


@dataclass(slots=True)
class Known:
    """One process; bytes of proportional set size, None until measured."""

    since: float
    baseline: int | None = None
    latest: int = 0

    @property
    def pss(self) -> int:
        """When it was measured last."""
        return self.latest

    @property
    def grown(self) -> int:
        """Over its beginning."""
        return self.latest - (self.baseline or 0)

    def age(self, now: float) -> float:
        """Seconds since it was first seen."""
        return now - self.since


class Ledger:
    """The processes of one worker.

    Args:
        parent: its pid.
    """

    def __init__(self, parent: int) -> None:
        self.parent = parent
        self._parent = Known(0.0)
        self._children: dict[int, Known] = {}

    def note_children(self, pids: dict[int, int], now: float) -> bool:
        """These live now. Whether one has ended."""
        gone = self._children.keys() - pids.keys()
        for pid in gone:
            del self._children[pid]
        for pid in pids:
            self._children.setdefault(pid, Known(now))
        return bool(gone)

    def child(self, pid: int) -> Known:
        """What is known of a child."""
        return self._children[pid]

    def instance(self, reading: Reading) -> Instance | None:
        """The worker as it was measured; None while a process of it is not in the reading."""
        if self.parent not in reading.pss or not self._children.keys() <= reading.pss.keys():
            return None
        parent, *children = (
            self._measured(pid, known, reading) for pid, known in [(self.parent, self._parent), *self._children.items()]
        )
        return Instance(parent, tuple(children), reading.container)

    @staticmethod
    def _measured(pid: int, known: Known, reading: Reading) -> Process:
        known.latest = reading.pss[pid]
        if known.baseline is None:
            known.baseline = known.latest
        return Process(pid, known.latest, known.baseline)
