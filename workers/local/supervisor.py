"""Keeps programs running: starts them, notices when they are ready and when they die, starts the dead again, ends them all.

One thread, one loop: `look` decides from what the kernel and the clock say, and `wait` sleeps until a signal or the next
look. Everything that changes is written to fleet.json at once, so that a supervisor that is killed can be tidied up after.
"""

from collections.abc import Callable, Iterable, Sequence
from pathlib import Path

from shared.clock import monotonic_seconds
from shared.errors import HeadraceError
from workers.local import control
from workers.local.identity import end
from workers.local.log_file import keep_bounded, tail
from workers.local.member import Member
from workers.local.pool import Pool
from workers.local.program import SERVERS, Program
from workers.local.record import FleetRecord, save
from workers.local.rolling import Rolling
from workers.local.signals import Signals

LOOK_SECONDS = 0.05
"""Between two looks while something is starting or waits for its next start."""

IDLE_SECONDS = 1.0
"""Between two looks while all is well; a death wakes the loop at once."""

DEATHS_BEFORE_READY_MAX = 3
"""A program that dies this often before it was ready once will not come up by itself: the start has failed."""


class StartFailed(HeadraceError):
    """A program did not become ready. The message ends with the last lines of its log."""


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
        self._pool: Pool | None = None
        self._rolling: Rolling | None = None
        (data_dir / "logs").mkdir(mode=0o700, exist_ok=True)
        control.prepare(data_dir)

    def start(self, programs: Iterable[Program]) -> None:
        """Start them all; `wait_ready` waits for them."""
        self._members += [Member(each, self._log_of(each)) for each in programs]
        self.look()

    def start_pool(self, program: Callable[[int], Program], least: int, most: int) -> None:
        """Start ``least`` workers, and from now on have as many as `control` says, up to ``most``."""
        self._pool = Pool(program, self._log_of, least, most)
        self._members += self._pool.start()
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
            steady = all(member.settled for member in self._members)
            self._signals.wait(IDLE_SECONDS if steady else LOOK_SECONDS)
            self.look()

    def look(self) -> None:
        """One look at every member, and at what is asked of us."""
        changed = [member.look() for member in self._members]
        if any([*changed, self._scale(), self._roll()]):
            self._write()
        for member in self._members:
            keep_bounded(member.log)

    def stop(self) -> None:
        """End everything, stage by stage. A second signal cuts the waiting short; afterwards nothing is left."""
        for stage in sorted({member.program.stop_stage for member in self._members}):
            ending = [member for member in self._members if member.program.stop_stage == stage]
            self._stop(ending)

    def _scale(self) -> bool:
        if self._pool is None or not self._record.complete:
            return False
        wanted = control.wanted_workers(self._data_dir)
        came, gone = self._pool.scale(self._pool.least if wanted is None else wanted)
        self._members = [member for member in self._members if member not in gone] + came
        return bool(came or gone)

    def _roll(self) -> bool:
        if not self._record.complete:
            return False  # what is asked for during the start is done after it, to all that were started
        request = control.restart_asked(self._data_dir)
        if request and (self._rolling is None or (self._rolling.over and self._rolling.record.id != request.id)):
            self._rolling = Rolling(request, [member for member in self._members if self._is_asked(member, request)])
        if self._rolling is None or not self._rolling.look():
            return False
        self._record.restart = self._rolling.record
        return True

    @staticmethod
    def _is_asked(member: Member, request: control.Restart) -> bool:
        kind = member.program.name.partition("-")[0]
        chosen = not request.names or kind in request.names or member.program.name in request.names
        return chosen and member.program.stop_stage != SERVERS

    def _log_of(self, program: Program) -> Path:
        return self._data_dir / "logs" / f"{program.name}.log"

    def _stop(self, members: Sequence[Member]) -> None:
        children = [child for member in members for child in member.children()]
        last = members[0].program.stop_stage == max(member.program.stop_stage for member in self._members)
        # Servers end in well under a second and are not hurried: a clean end is what makes the next start quick.
        end((child.stoppable for child in children), hurry=lambda: not last and self._signals.count > 1)
        for child in children:
            child.reap()
        for member in members:
            member.child = member.coming = member.leaving = None
            member.state = "stopped"
        self._write()

    def _write(self) -> None:
        self._record.processes = [record for member in self._members for record in member.records()]
        save(self._record, self._data_dir)
        self._changed()
