"""`headrace VERB` as a process of its own, ended with the test."""

import os
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
from base64 import b64encode
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path


class Foreground:
    """A running process and what it has logged."""

    def __init__(self, process: subprocess.Popen[bytes], log: Path) -> None:
        self.process = process
        self._log = log

    @property
    def log(self) -> str:
        """Its stderr so far."""
        return self._log.read_text(errors="replace")

    def answers(self, url: str) -> bool:
        """True once ``url`` answers 200; fails when the process has ended."""
        assert self.process.poll() is None, self.log[-3000:]
        try:
            return status(url) == 200
        except OSError:
            return False

    def stop(self, within: float) -> int:
        """SIGTERM, and its exit code; fails when it needs longer than ``within`` seconds."""
        self.process.terminate()
        return self.process.wait(within)


@contextmanager
def foreground(verb: str, environment: Mapping[str, str]) -> Iterator[Foreground]:
    """Start ``headrace verb``; whatever happens, it is gone at the end."""
    with tempfile.TemporaryDirectory(prefix="headrace-") as directory:
        log = Path(directory) / "log"
        with log.open("ab") as out:
            process = subprocess.Popen(
                [sys.executable, "-m", "workers.cli.main", verb], env={**os.environ, **environment}, stdout=out, stderr=out
            )
        try:
            yield Foreground(process, log)
        finally:
            process.kill()
            process.wait(10)


def status(url: str, user: str = "", password: str = "") -> int:
    """The HTTP status of a GET. Raises OSError when nobody answers."""
    request = urllib.request.Request(url)
    if user:
        request.add_header("Authorization", f"Basic {b64encode(f'{user}:{password}'.encode()).decode()}")
    try:
        with urllib.request.urlopen(request, timeout=10) as answer:
            return int(answer.status)
    except urllib.error.HTTPError as error:
        return error.code
