"""A running program of the fleet, in a session of its own, its output in a log file."""

import subprocess
from pathlib import Path

from shared.clock import monotonic_seconds
from workers.local.identity import KILL_SECONDS, Stoppable, identity_of
from workers.local.log_file import open_log
from workers.local.owner import as_owner
from workers.local.program import Program


class Child:
    """Started on construction. Raises OSError when the program cannot be executed."""

    def __init__(self, program: Program, log: Path) -> None:
        program.before_start()
        with open_log(log) as output:
            self._popen = subprocess.Popen(
                program.command,
                env=dict(program.environment),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                start_new_session=True,  # Ctrl-C on the terminal reaches the supervisor alone, which drains in order
                cwd="/" if program.owner else None,  # our directory may be closed to the owner
                **as_owner(program.owner),
            )
        self.program = program
        self.identity = identity_of(self._popen.pid)
        self.stoppable = Stoppable(self.identity, program.stop_signal, program.stop_seconds)
        self.since = monotonic_seconds()

    def exit_status(self) -> int | None:
        """None while it runs; then its exit status, negative for a signal."""
        return self._popen.poll()

    def reap(self) -> None:
        """Take note that it ended, so that it does not stay a zombie."""
        self._popen.wait(KILL_SECONDS)
