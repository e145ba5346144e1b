"""A batch in flight, as Celery's worker and Flower see it: one task, with its size, lane and duration.

It stands in the worker's state like a request, so that ``celery inspect active`` shows it and autoscaling counts it. It sends
one event, at its end, with everything that Celery's usual three would tell: an event costs a round trip to the broker.
"""

from collections import Counter
from collections.abc import Sequence
from typing import Any
from uuid import uuid4

from celery.worker import state

from shared.clock import wall_seconds
from shared.topology import TASK_OF_KIND, lane_number
from tasks.slot import Pending, Slot


class Flight:
    """One batch between the parent and a child.

    Args:
        members: its messages, in order.
        slot: the slot it occupies.
        hostname: the worker's name.
        dispatcher: Celery's event dispatcher, or None.
    """

    acknowledged = False

    def __init__(self, members: Sequence[Pending], slot: Slot, hostname: str, dispatcher: Any) -> None:
        self.id = str(uuid4())
        self.kind = members[0].kind
        self.name = TASK_OF_KIND.get(self.kind, self.kind)
        self.members = members
        self.slot = slot
        self.hostname = hostname
        self.worker_pid: int | None = None
        self.time_start: float | None = None
        self._job: Any = None
        self._received = wall_seconds()
        self._dispatcher = dispatcher if dispatcher and dispatcher.enabled else None

    @property
    def with_child(self) -> bool:
        """A child has taken it, or will: it is in the pipe, or partly."""
        return self.worker_pid is not None or getattr(self._job, "_write_to", None) is not None

    def take_off(self) -> None:
        """It is handed to the pool."""
        state.task_reserved(self)

    def follow(self, job: Any) -> None:
        """``job`` is the pool's handle of it. When a connection is lost the pool forgets each job that no child has accepted yet,
        but a child that has it in its pipe runs it all the same, and nobody would hear of it: such a one is not forgotten.

        The name with an underscore is billiard's; tests/chaos/test_leases.py fails when it changes its meaning.
        """
        self._job = job
        if hasattr(job, "discard"):
            forget = job.discard
            job.discard = lambda: None if self.with_child else forget()

    def on_accepted(self, pid: int, _monotonic: float) -> None:
        """A child has taken it."""
        self.worker_pid, self.time_start = pid, wall_seconds()
        state.task_accepted(self)

    def land(self, outcomes: Counter[str], seconds: float) -> None:
        """It had its effect."""
        # Not as successful: Celery would keep a thousand ids, to compare with results that we have none of.
        state.task_ready(self)
        result = ", ".join(f"{count} {outcome}" for outcome, count in outcomes.items())
        self._event("task-succeeded", result=result, runtime=seconds)

    def crash(self, reason: str) -> None:
        """It had none; its messages run again."""
        state.task_ready(self)
        self._event("task-failed", exception=reason, traceback="")

    def ids(self) -> dict[str, Any]:
        """What a log line says of it; ``lanes`` as ``03 19``, the kind's plain queue as ``-``."""
        lanes = sorted({lane_number(member.queue) for member in self.members}, key=lambda lane: -1 if lane is None else lane)
        named = " ".join("-" if lane is None else f"{lane:02d}" for lane in lanes)
        return {"batch": self.id, "task": self.name, "queue": self.kind, "lanes": named, "size": len(self.members)}

    def info(self, safe: bool = False) -> dict[str, Any]:
        """What ``celery inspect`` shows: sizes and places, never a message."""
        return {
            "id": self.id,
            "name": self.name,
            "args": self._size(),
            "kwargs": {},
            "type": self.name,
            "hostname": self.hostname,
            "time_start": self.time_start,
            "acknowledged": False,
            "delivery_info": {"routing_key": self.kind, "lanes": sorted({member.queue for member in self.members})},
            "worker_pid": self.worker_pid,
        }

    def _size(self) -> str:
        return f"({len(self.members)} messages of {self.kind})"

    def _event(self, kind: str, **fields: Any) -> None:
        if self._dispatcher:
            times = {"received": self._received, "started": self.time_start}
            self._dispatcher.send(kind, uuid=self.id, name=self.name, args=self._size(), kwargs="{}", **times, **fields)
