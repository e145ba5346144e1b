"""What to do about memory: a pure function of what was measured.

Three steps, each before the next is needed. A child over its own limits is *retired*: ended between two batches and replaced,
one at a time. A child that outgrows the whole worker inside of one batch is *killed*: its batch runs again in halves, until the
message at fault stands alone. When that does not help, because the parent has grown or the container is nearly full, the worker
*stops* as on SIGTERM, and its supervisor starts it anew.
"""

from typing import NamedTuple

from workers.memory.container import Container

GIVES_BACK = 0.25
"""A restart must give back this part of the limit, or it would only be repeated: others fill the container, or the limit is less
than a worker needs. More than the caches of a new worker soon take again."""
WORKS_BYTES = 8 << 20
"""A child may grow by this, whatever its limit: with one that is less than it begins with, it would never run a batch."""
PAYS = 0.1
"""The same of one child: replacing it costs less, and no batch."""
CONTAINER_EARLY = 0.1
"""So far below the part of the container where the worker stops, the child that grew most is replaced."""


class Limits(NamedTuple):
    """In bytes; see the settings of the same names.

    Args:
        worker: all of a worker's processes together.
        child: one child.
        growth: one child over what it was after its fork.
        container: the part of the container's memory where the worker stops, 0 to 1.
    """

    worker: int
    child: int
    growth: int
    container: float


class Process(NamedTuple):
    """One process, in bytes of proportional set size: now, and when it was first seen."""

    pid: int
    pss: int
    baseline: int

    @property
    def grown(self) -> int:
        """Over its own beginning."""
        return self.pss - self.baseline


class Instance(NamedTuple):
    """One worker, as measured; ``container`` is None when there is no limit."""

    parent: Process
    children: tuple[Process, ...]
    container: Container | None = None

    @property
    def total(self) -> int:
        """Parent and children."""
        return self.parent.pss + sum(child.pss for child in self.children)

    @property
    def grown(self) -> int:
        """What a restart gives back."""
        return self.parent.grown + sum(child.grown for child in self.children)


class Retire(NamedTuple):
    """Replace a child between two batches."""

    pid: int
    reason: str


class Kill(NamedTuple):
    """End a child in the middle of its batch."""

    pid: int
    reason: str


class Stop(NamedTuple):
    """Drain and exit; a supervisor starts the worker again."""

    reason: str


Action = Retire | Kill | Stop | None


def spent(instance: Instance, limits: Limits) -> list[int]:
    """The children that may run no further batch: those over their limit. They wait idle for their turn to be retired, so that no
    leak is quicker than its remedy."""
    return [child.pid for child in instance.children if _over(child, limits)]


def decide(instance: Instance, limits: Limits, *, replacing: bool) -> Action:
    """What to do now, or None.

    Args:
        replacing: a child is on its way out or its successor not up yet, so no other may go.
    """
    for child in instance.children:
        if child.pss > limits.worker:
            return Kill(child.pid, "runaway")
    if stop := _stop(instance, limits):
        return stop
    if replacing or not instance.children:
        return None
    return _retire(instance, limits)


def _stop(instance: Instance, limits: Limits) -> Stop | None:
    container, parent = instance.container, instance.parent
    if container and container.fraction >= limits.container and instance.grown >= GIVES_BACK * container.limit:
        return Stop("container")
    # What children hold is given back one by one; only a parent that has grown takes the worker with it.
    new = sum(min(child.pss, child.baseline) for child in instance.children)
    if parent.pss + new > limits.worker and parent.grown >= GIVES_BACK * limits.worker:
        return Stop("worker_memory")
    return None


def _retire(instance: Instance, limits: Limits) -> Retire | None:
    over = [child for child in instance.children if _over(child, limits)]
    if over:
        return Retire(max(over, key=lambda child: child.pss).pid, "child_memory")
    most = max(instance.children, key=lambda child: child.grown)
    if most.grown > limits.growth:
        return Retire(most.pid, "child_growth")
    if instance.total > limits.worker and most.grown >= PAYS * limits.worker:
        return Retire(most.pid, "worker_memory")
    container = instance.container
    if container and container.fraction >= limits.container - CONTAINER_EARLY and most.grown >= PAYS * container.limit:
        return Retire(most.pid, "container")
    return None


def _over(child: Process, limits: Limits) -> bool:
    return child.pss > limits.child and child.grown > WORKS_BYTES
