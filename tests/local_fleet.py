"""`headrace up` as a test's own fleet: started, asked, killed, and nothing of it left at the end."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import psutil

from shared.settings import PREFIX
from tests.conftest import free_ports


class Fleet(NamedTuple):
    """A data directory and the ports that go with it."""

    data_dir: Path
    port: int

    def headrace(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Run ``headrace`` to its end."""
        return subprocess.run(
            self.command(*words), env=environment(more), capture_output=True, text=True, check=False, timeout=150
        )

    def command(self, verb: str, *words: str) -> list[str]:
        """The command line of ``headrace verb``."""
        return [sys.executable, "-m", "workers.cli.main", verb, "--data-dir", str(self.data_dir), *words]

    def up(self, *words: str, **more: str) -> subprocess.CompletedProcess[str]:
        """Start it and wait until it is ready."""
        return self.headrace("up", "--detach", "--port", str(self.port), *words, **more)

    def status(self) -> dict[str, Any]:
        """What ``headrace status`` says; empty when no fleet runs."""
        ended = self.headrace("status", "--json")
        return json.loads(ended.stdout) if ended.returncode == 0 else {}

    def kill_supervisor(self) -> None:
        """As the kernel would when memory runs out."""
        supervisor = psutil.Process(json.loads((self.data_dir / "fleet.json").read_bytes())["supervisor"]["pid"])
        supervisor.kill()
        supervisor.wait(10)

    def left(self) -> list[str]:
        """The processes that are of this fleet by their command line, their environment or their place."""
        here = str(self.data_dir)
        found = []
        for process in psutil.process_iter():
            try:
                mine = process.environ().get(f"{PREFIX}DATA_DIR") == here or process.cwd().startswith(here + "/")
                if mine or any(here in word for word in process.cmdline()):
                    found.append(f"{process.pid} {process.name()}")
            except psutil.Error:
                continue
        return found


def environment(more: Mapping[str, str]) -> dict[str, str]:
    """This process's without what other tests set."""
    return {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)} | dict(more)


def new_fleet(reachable_dir: Path, name: str) -> Iterator[Fleet]:
    """A fleet to be started; whatever a test does with it, it is stopped at the end."""
    it = Fleet(reachable_dir / name, free_ports())
    yield it
    ended = it.headrace("down")
    assert ended.returncode == 0, ended.stderr
    assert it.left() == []
