"""One supervised program and what became of it: started, ready, dead and started again, or renewed on purpose.

A renewal leaves no gap where the program allows two of itself: the new one is started, and when it is ready the old one is
asked to drain. Others end first. Whichever child is old drains beside the loop, for as long as its program allows.
"""

from pathlib import Path
from typing import NamedTuple

from shared.clock import monotonic_seconds
from workers.local import backoff
from workers.local.child import Child
from workers.local.identity import ask, family, kill
from workers.local.program import Program
from workers.local.record import ProcessRecord, State

RENEWAL_SECONDS_MAX = 60.0
"""Until a new child is ready; it is given up then, and the old one goes on."""


class Old(NamedTuple):
    """A child that was asked to end, and when it is killed, monotonic seconds."""

    child: Child
    until: float


class Member:
    """See the module.

    Args:
        program: what runs.
        log: where its output goes.
        scaled: it came by scaling: a fleet is ready without it.
    """

    def __init__(self, program: Program, log: Path, *, scaled: bool = False) -> None:
        self.program = program
        self.log = log
        self.scaled = scaled
        self.child: Child | None = None
        self.coming: Old | None = None
        self.leaving: Old | None = None
        self.state: State = "waiting"
        self.restarts = 0
        self.deaths = 0
        self.last_exit: int | None = None
        self.start_at = 0.0
        self.dismissed = False
        self.renewal_failed = False
        self._died_before = False

    @property
    def gone(self) -> bool:
        """It was dismissed, and nothing of it is left."""
        return self.dismissed and not self.children()

    @property
    def settled(self) -> bool:
        """One child runs and is ready, and none is on its way in or out."""
        return self.state == "running" and self.coming is None and self.leaving is None

    def children(self) -> list[Child]:
        """All that run."""
        others = [each.child for each in (self.coming, self.leaving) if each]
        return [self.child, *others] if self.child else others

    def records(self) -> list[ProcessRecord]:
        """As fleet.json has it: a line for each child, the one that serves first."""
        stage = self.program.stop_stage
        extra = self.scaled and self.state != "running"
        process = self.child.stoppable if self.child else None
        lines = [ProcessRecord(self.program.name, self.state, self.restarts, stage, process, self.last_exit, extra)]
        if self.dismissed:
            lines = []
        if self.coming:
            lines.append(
                ProcessRecord(f"{self.program.name} (new)", "starting", 0, stage, self.coming.child.stoppable, extra=True)
            )
        if self.leaving:
            old = self.leaving.child.stoppable
            lines.append(ProcessRecord(f"{self.program.name} (old)", "draining", 0, stage, old, extra=True))
        return lines

    def look(self) -> bool:
        """Notice what happened and do what is due; True when something changed."""
        changed = self._look_after_the_old()
        if self.coming:
            return self._look_at_the_new(self.coming) or changed
        if self.child is None:
            due = not self.dismissed and self.leaving is None and monotonic_seconds() >= self.start_at
            return (due and self._start()) or changed
        if self.child.exit_status() is not None:
            self._died(self.child)
            return True
        if self.state == "starting" and self.program.is_ready():
            self.state = "running"
            return True
        return changed

    def renew(self) -> None:
        """Run a new child in the place of the one that runs; `settled` again once that is done, or `renewal_failed`."""
        self.renewal_failed = False
        if self.child is None or not self.program.overlaps:
            return self._let_go()
        try:
            self.coming = Old(Child(self.program, self.log), monotonic_seconds() + RENEWAL_SECONDS_MAX)
        except OSError:
            self.renewal_failed = True
        return None

    def dismiss(self) -> None:
        """Let it drain and end, for good."""
        self.dismissed = True
        if self.coming:
            kill(family(self.coming.child.identity))
            self.coming = None
        self._let_go()

    def _let_go(self) -> None:
        if self.child:
            ask(self.child.stoppable)
            self.leaving = Old(self.child, monotonic_seconds() + self.program.stop_seconds)
        self.child, self.state, self.start_at = None, "waiting", 0.0

    def _look_after_the_old(self) -> bool:
        if self.leaving is None:
            return False
        child, until = self.leaving
        if child.exit_status() is None and monotonic_seconds() < until:
            return False
        kill(family(child.identity))
        child.reap()
        self.leaving = None
        return True

    def _look_at_the_new(self, coming: Old) -> bool:
        child, until = coming
        if child.exit_status() is None and not self.program.is_ready():
            if monotonic_seconds() < until:
                return False
            kill(family(child.identity))
        self.coming = None
        if child.exit_status() is not None:
            self.renewal_failed = True
            return True
        self._let_go()
        self.child, self.state = child, "running"
        return True

    def _start(self) -> bool:
        self.restarts += self._died_before
        self._died_before = False
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
        self._died_before = True
        self.deaths = backoff.deaths_in_a_row(self.deaths, lived_seconds)
        self.start_at = monotonic_seconds() + backoff.delay_seconds(self.deaths)
        self.state = "waiting"
