"""Real worker processes for tests, in the shape that pytest-celery's nodes ask of a container."""

import os
import shutil
import signal
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from pytest_celery import CeleryTestWorker

from tests.waiting import eventually

READY_SECONDS_MAX = 40.0


class ProcessContainer:
    """`headrace worker` as a process of its own; started, killed, restarted like a container."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.name = self.id = name
        self.celeryconfig: dict[str, Any] = {}
        self._directory = Path(tempfile.mkdtemp(prefix=f"headrace-{name}-"))
        self._ready_file = self._directory / "ready"
        self._log = self._directory / "log"
        self._environment = {**os.environ, **environment, "HEADRACE_READY_FILE": str(self._ready_file)}
        self.process: subprocess.Popen[bytes] | None = None

    @property
    def status(self) -> str:
        return "running" if self.process and self.process.poll() is None else "exited"

    def command(self) -> list[str]:
        """What runs."""
        return [sys.executable, "-m", "workers.cli.main", "worker", "--name", self.name]

    def start(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(self.command(), env=self._environment, stdout=log, stderr=log, start_new_session=True)

    def ready(self) -> bool:
        eventually(f"{self.name} is ready", self._is_ready, within=READY_SECONDS_MAX)
        return True

    def _is_ready(self) -> bool:
        assert self.status == "running", self.logs()[-3000:]
        return self._ready_file.exists()

    def logs(self) -> str:
        return self._log.read_text(errors="replace")

    def tree(self) -> list[psutil.Process]:
        """The parent and its children."""
        assert self.process
        parent = psutil.Process(self.process.pid)
        return [parent, *parent.children(recursive=True)]

    def kill(self, signal: str | int = "SIGKILL") -> None:
        assert self.process
        self.process.send_signal(_number(signal))

    def wait(self, within: float = 20.0) -> int:
        """The exit code."""
        assert self.process
        return self.process.wait(within)

    def reload(self) -> None:
        """Nothing is cached."""

    def restart(self, timeout: float = 20.0) -> None:
        self.kill("SIGTERM")
        self.wait(timeout)
        self.start()
        self.ready()

    def teardown(self) -> None:
        """End it and what is left of its children, and remove what it wrote."""
        if self.process is None:
            return
        family = self.tree() if self.status == "running" else []
        for process in family:
            if process.is_running():
                process.kill()
        self.process.wait(10)
        psutil.wait_procs(family[1:], timeout=10)
        shutil.rmtree(self._directory, ignore_errors=True)


def _number(name: str | int) -> int:
    return getattr(signal, name) if isinstance(name, str) else name


def worker_node(name: str, environment: dict[str, str], app: Any) -> CeleryTestWorker:
    """A started worker that consumes; the caller tears it down."""
    container = ProcessContainer(name, environment)
    container.start()
    node = CeleryTestWorker(container, app)
    try:
        node.ready()
    except BaseException:
        node.teardown()
        raise
    return node
