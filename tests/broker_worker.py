"""A real Celery worker of `tests.broker_app`, in a process of its own."""

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

from tests.waiting import eventually

ROOT = Path(__file__).parent.parent


class Worker:
    """A worker process, up when the constructor returns.

    Args:
        url: the broker's.
        directory: where its log goes.
        name: its node name, unique.
        arguments: for ``celery worker``.
        environment: for `tests.broker_app`.
    """

    def __init__(self, url: str, directory: Path, name: str, *arguments: str, **environment: str) -> None:
        self.log = directory / f"{name}.log"
        self.node = f"{name}@test"
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "celery", "-A", "tests.broker_app", "worker", "-l", "INFO", "-n", self.node, *arguments],
                cwd=ROOT,
                env={**os.environ, "PYTHONPATH": str(ROOT), "BROKER_APP_URL": url, **environment},
                stdout=log,
                stderr=log,
                start_new_session=True,  # so that the children can be stopped and killed with it
            )
        eventually(f"worker {name} is ready", self._is_ready, within=30)

    def _is_ready(self) -> bool:
        assert self.process.poll() is None, self.log.read_text()
        return f"{self.node} ready" in self.log.read_text()

    def signal(self, number: signal.Signals) -> None:
        """Send a signal to the worker and its children."""
        os.killpg(self.process.pid, number)

    def stop(self, seconds: float = 20) -> int:
        """Warm shutdown; the exit code."""
        self.process.terminate()
        return self.process.wait(seconds)

    def end(self) -> None:
        """End it, whatever state it is in."""
        with suppress(ProcessLookupError, PermissionError):
            self.signal(signal.SIGKILL)
        self.process.wait()
