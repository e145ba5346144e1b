"""Keeps programs running: starts them, notices when they are ready and when they die, starts the dead again, ends them all.

One thread, one loop: `look` decides from what the kernel and the clock say, and `wait` sleeps until a signal or the next
look. Everything that changes is written to fleet.json at once, so that a supervisor that is killed can be tidied up after.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from shared.clock import monotonic_seconds
from shared.errors import HeadraceError
from workers.local import backoff
from workers.local.child import Child
from workers.local.identity import end, family, kill
from workers.local.log_file import keep_bounded, tail
from workers.local.program import Program
from workers.local.record import FleetRecord, ProcessRecord, State, save
from workers.local.signals import Signals

LOOK_SECONDS = 0.05
"""Between two looks while something is starting or waits for its next start."""

IDLE_SECONDS = 1.0
"""Between two looks while all is well; a death wakes the loop at once."""

DEATHS_BEFORE_READY_MAX = 3
"""A program that dies this often before it was ready once will not come up by itself: the start has failed."""


class StartFailed(HeadraceError):
    """A program did not become ready. The message ends with the last lines of its log."""


class Member:
    """A supervised program and what became of it so far."""

    def __init__(self, program: Program, log: Path) -> None:
        self.program = program
        self.log = log
        self.child: Child | None = None
        self.state: State = "waiting"
        self.restarts = -1  # the first start is none
        self.deaths = 0
        self.last_exit: int | None = None
        self.start_at = 0.0

    def record(self) -> ProcessRecord:
        """As fleet.json has it."""
        process = self.child.stoppable if self.child else None
        return ProcessRecord(
            self.program.name, self.state, max(0, self.restarts), self.program.stop_stage, process, self.last_exit
        )

    def look(self) -> bool:
        """Notice what happened and do what is due; True when something changed."""
        if self.child is None:
            return monotonic_seconds() >= self.start_at and self._start()
        if self.child.exit_status() is not None:
            self._died(self.child)
            return True
        if self.state == "starting" and self.program.is_ready():
            self.state = "running"
            return True
        return False

    def _start(self) -> bool:
        self.restarts += 1
        try:
            self.child, self.state = Child(self.program, self.log), "starting"
        except OSError as error:  # not executable, or the system is out of processes for now
            self.log.write_text(f"{self.program.command[0]} cannot be started: {error.strerror}\n")
            self._wait_after(lived_seconds=0)
        return True

    def _died(self, child: Child) -> None:
        kill(family(child.identity))  # what it started would work on unsupervised
        self.last_exit, self.child = child.exit_status(), None
        self._wait_after(monotonic_seconds() - child.since)

    def _wait_after(self, lived_seconds: float) -> None:
        self.deaths = backoff.deaths_in_a_row(self.deaths, lived_seconds)
        self.start_at = monotonic_seconds() + backoff.delay_seconds(self.deaths)
        self.state = "waiting"


class Supervisor:
    """The programs of one fleet.

    Args:
        data_dir: where fleet.json is and ``logs/`` will be.
        record: kept up to date here and on disk.
        signals: what interrupts a wait.
        changed: called after each change.
    """

    def __init__(self, data_dir: Path, record: FleetRecord, signals: Signals, changed: Callable[[], None] = lambda: None) -> None:
        self._data_dir = data_dir
        self._record = record
        self._signals = signals
        self._changed = changed
        self._members: list[Member] = []
        (data_dir / "logs").mkdir(mode=0o700, exist_ok=True)

    def start(self, programs: Iterable[Program]) -> None:
        """Start them all; `wait_ready` waits for them."""
        self._members += [Member(each, self._data_dir / "logs" / f"{each.name}.log") for each in programs]
        self.look()

    def wait_ready(self, seconds: float) -> bool:
        """True once everything started so far is ready; False when a signal says stop. Raises StartFailed."""
        deadline = monotonic_seconds() + seconds
        while waiting := [member for member in self._members if member.state != "running"]:
            if self._signals.count:
                return False
            for member in waiting:
                if member.deaths >= DEATHS_BEFORE_READY_MAX or monotonic_seconds() > deadline:
                    why = "keeps ending" if member.deaths else f"is not ready after {seconds:.0f} s"
                    raise StartFailed(f"{member.program.name} {why}; its log is {member.log} and ends:\n{tail(member.log)}")
            self._signals.wait(LOOK_SECONDS)
            self.look()
        return True

    def complete(self) -> None:
        """The start is over: from now on the record says whether everything is ready."""
        self._record.complete = True
        self._write()

    def run(self, between: Callable[[], None]) -> None:
        """Supervise until a signal says stop; ``between`` is called about once a second."""
        while not self._signals.count:
            between()
            steady = all(member.state == "running" for member in self._members)
            self._signals.wait(IDLE_SECONDS if steady else LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """One look at every member."""
        changed = [member.look() for member in self._members]
        if any(changed):
            self._write()
        for member in self._members:
            keep_bounded(member.log)

    def stop(self) -> None:
        """End everything, stage by stage. A second signal cuts the waiting short; afterwards nothing is left."""
        for stage in sorted({member.program.stop_stage for member in self._members}):
            ending = [member for member in self._members if member.program.stop_stage == stage]
            self._stop(ending)

    def _stop(self, members: Sequence[Member]) -> None:
        children = [member.child for member in members if member.child]
        last = members[0].program.stop_stage == max(member.program.stop_stage for member in self._members)
        # Servers end in well under a second and are not hurried: a clean end is what makes the next start quick.
        end((child.stoppable for child in children), hurry=lambda: not last and self._signals.count > 1)
        for child in children:
            child.reap()
        for member in members:
            member.child, member.state = None, "stopped"
        self._write()

    def _write(self) -> None:
        self._record.processes = [member.record() for member in self._members]
        save(self._record, self._data_dir)
        self._changed()
