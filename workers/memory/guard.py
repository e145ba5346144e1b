"""The memory guard of a worker: looks at every reading, acts on what the policy says, shows it all as metrics.

It runs on the worker's event loop, in its thread: once a second (`look`), and whenever the collector is about to start batches
(`between_batches`): memory grows by batches, and under full load that is when a child can be found idle.
"""

from typing import Any

from celery import bootsteps, signals
from celery.worker import state

from shared.clock import monotonic_seconds
from shared.log import get_logger
from shared.metrics import WORKER_MEMORY_MAX, WORKER_PSS, WORKER_RECYCLES, fold_dead_processes
from shared.settings import Settings, settings
from tasks.collector import CollectorStep
from workers.memory import heap
from workers.memory.children import Children
from workers.memory.ledger import Ledger
from workers.memory.policy import Action, Kill, Limits, Retire, Stop, decide, spent
from workers.memory.sampler import Reading, Sampler
from workers.memory.timers import drop_cancelled

LOOK_SECONDS = 1.0
PARENT = -1
"""The parent's place among the processes."""

EXIT_MEMORY = 75
"""EX_TEMPFAIL: nothing is wrong with the configuration, start me again. Not 0, for a supervisor may restart failures only."""

RETIRE_SECONDS_MAX = 10.0
"""Until a child that was told to end is killed; it has nothing to do but to close its connections."""
PAUSE_SECONDS = 2.0
"""Between two replacements, unless a child idles over its limit. A fork and a first connection take some 0.2 s of a core, so a
child whose limit is less than it needs costs a tenth of one, and not all of it."""
YOUNG_SECONDS = 60.0
"""A child over its limits sooner than this is no slow leak, and the operator is told."""

log = get_logger(__name__)


def limits_of(config: Settings) -> Limits:
    """As set, in bytes."""
    return Limits(
        worker=config.worker_memory_mb << 20,
        child=config.child_memory_mb << 20,
        growth=config.child_growth_mb << 20,
        container=config.container_percent / 100,
    )


class Guard:
    """See the module. Lives as long as the worker.

    Args:
        children: of this worker.
        sampler: measures them.
        limits: what they may have.
        worker: the worker's name, a label.
        pid: the parent's.
    """

    def __init__(self, children: Children, sampler: Sampler, limits: Limits, worker: str, pid: int) -> None:
        self._children = children
        self._sampler = sampler
        self._limits = limits
        self._worker = worker
        self._ledger = Ledger(pid)
        self._due: Retire | None = None
        self._spent: list[int] = []
        self._leaving: tuple[int, float] | None = None  # a child told to end, and when
        self._paused_until = 0.0
        self._seen: Reading | None = None
        self._stopping = False
        self._unfolded = True  # a worker that was killed here before us left files, too

    def look(self) -> None:
        """Act on what was measured since the last look."""
        now, places = monotonic_seconds(), self._children.pids
        self._sampler.pids = (self._ledger.parent, *places)
        self._unfolded |= self._ledger.note_children(places, now)
        if self._unfolded:
            self._unfolded = not fold_dead_processes()
        self._follow(places, now)
        reading = self._sampler.latest
        if reading is None or reading is self._seen or self._stopping:
            return
        self._seen = reading
        self._show(reading, places)
        instance = self._ledger.instance(reading)
        if instance is not None:
            self._spent = spent(instance, self._limits)
            pausing = now < self._paused_until and not self._spent
            replacing = self._leaving is not None or not self._children.whole or pausing
            self._act(decide(instance, self._limits, replacing=replacing), now)
        self._retire_who_is_due()

    def between_batches(self) -> None:
        """Look, if there is anything new to see, and replace the child that is due, if it is idle now."""
        if self._sampler.latest is not self._seen:
            self.look()
        else:
            self._retire_who_is_due()

    def _retire_who_is_due(self) -> None:
        for pid in self._spent:
            self._children.set_aside(pid)
        due = self._due
        if due is None or self._stopping:
            return
        if due.pid not in self._children.pids:
            self._due = None
        elif self._children.retire(due.pid):
            now = monotonic_seconds()
            self._due, self._leaving = None, (due.pid, now)
            self._report(due, now)

    def _follow(self, places: dict[int, int], now: float) -> None:
        """See the one that leaves off."""
        if self._leaving is None:
            return
        pid, since = self._leaving
        if pid not in places and self._children.whole:
            self._leaving, self._paused_until = None, now + PAUSE_SECONDS
        elif pid in places and now - since > RETIRE_SECONDS_MAX:
            log.warning("a child that was told to end is killed", pid=pid)
            self._children.kill(pid)
            self._leaving = (pid, now)

    def _act(self, action: Action, now: float) -> None:
        if isinstance(action, Retire):
            self._due = self._due or action
        elif isinstance(action, Kill):
            self._report(action, now)
            self._children.kill(action.pid)
            self._leaving = (action.pid, now)
        elif isinstance(action, Stop):
            self._stop(action)

    def _report(self, action: Retire | Kill, now: float) -> None:
        WORKER_RECYCLES.labels(action.reason).inc()
        child = self._ledger.child(action.pid)
        log.info(
            "child replaced for its memory",
            reason=action.reason,
            pid=action.pid,
            pss_mb=child.pss >> 20,
            grown_mb=child.grown >> 20,
            age_seconds=round(child.age(now)),
        )
        if child.age(now) < YOUNG_SECONDS:
            log.warning(
                "a child went over its limit in less than a minute; if batches need that much, raise HEADRACE_CHILD_MEMORY_MB and"
                " HEADRACE_CHILD_GROWTH_MB, else see what grows: headrace worker-profile",
                age_seconds=round(child.age(now)),
            )

    def _stop(self, action: Stop) -> None:
        """As SIGTERM does it: no more claims, batches finish, the rest goes back, and a supervisor starts the worker anew."""
        self._stopping = True
        WORKER_RECYCLES.labels(action.reason).inc()
        log.warning("memory is nearly used up: the worker drains and exits", reason=action.reason, exit_code=EXIT_MEMORY)
        signals.worker_shutting_down.send(sender=self._worker, sig="memory", how="Warm", exitcode=EXIT_MEMORY)
        state.should_stop = EXIT_MEMORY

    def _show(self, reading: Reading, places: dict[int, int]) -> None:
        WORKER_MEMORY_MAX.labels(self._worker).set(self._limits.worker)
        for pid, place in {self._ledger.parent: PARENT, **places}.items():
            if pid in reading.pss:
                name = "parent" if place == PARENT else f"child-{place}"
                WORKER_PSS.labels(self._worker, name).set(reading.pss[pid])


class GuardStep(bootsteps.StartStopStep):
    """Gives the worker its guard; its timers end with the connection and begin anew with the next."""

    requires = (CollectorStep,)

    def __init__(self, consumer: Any, **options: Any) -> None:
        super().__init__(consumer, **options)
        config = settings()
        self._sampler = Sampler(config.cgroup_dir)
        self._guard = Guard(Children(consumer.pool), self._sampler, limits_of(config), consumer.hostname, consumer.pid or 0)
        self._timers: list[Any] = []

    def start(self, consumer: Any) -> None:
        """The worker consumes."""
        consumer.collector.between_batches = self._guard.between_batches
        self._sampler.start()
        self._timers = [
            consumer.timer.call_repeatedly(LOOK_SECONDS, self._guard.look),
            consumer.timer.call_repeatedly(LOOK_SECONDS, drop_cancelled, (consumer.timer,)),
            consumer.timer.call_repeatedly(heap.TRIM_SECONDS, heap.trim),
        ]

    def stop(self, consumer: Any) -> None:
        """The connection is going, or the worker."""
        for timer in self._timers:
            timer.cancel()
        self._sampler.stop()
