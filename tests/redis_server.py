"""A Redis server of a test's own: started on a free port, paused, killed and restarted at will, ended with the test."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest
import redis

from tests.waiting import eventually

EMBEDDED = shutil.which("redis-server", path=str(Path(sys.executable).parent)) or ""
"""Redis 6.2, from the wheel."""
DEBIAN = shutil.which("redis-server", path="/usr/bin:/usr/local/bin") or ""
"""Redis 7.0, where it is installed."""

SENTINEL = "sentinel"
"""Two of the embedded ones, and a Sentinel that fails over in the middle of a module's tests."""

binaries = pytest.mark.parametrize(
    "redis_binary",
    [
        pytest.param(EMBEDDED, id="embedded", marks=pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")),
        pytest.param(DEBIAN, id="system", marks=pytest.mark.skipif(not DEBIAN, reason="no redis-server on this machine")),
        pytest.param(SENTINEL, marks=pytest.mark.skipif(not EMBEDDED, reason="no redis-server in the venv")),
    ],
    scope="module",
)


def redis_at(port: int) -> str:
    """The URL of what listens on a loopback port."""
    return f"redis://127.0.0.1:{port}/0"


def free_port() -> int:
    """A port that was free a moment ago, of the range given in HEADRACE_TEST_PORTS (``first-last``) when there is one."""
    first, _, last = os.environ.get("HEADRACE_TEST_PORTS", "").partition("-")
    for port in range(int(first), int(last) + 1) if last else [0]:
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with suppress(OSError):
                probe.bind(("127.0.0.1", port))
                number: int = probe.getsockname()[1]
                return number
    raise AssertionError("no free port")


class RedisServer:
    """A running server.

    Args:
        binary: path of a redis-server or valkey-server.
        directory: where it keeps its files.
        options: further settings, as on its command line.
        port: 0 for a free one.
    """

    def __init__(self, binary: str, directory: Path, *options: str, port: int = 0) -> None:
        self.port = port or free_port()
        self.url = redis_at(self.port)
        self._command = [binary, "--port", str(self.port), "--bind", "127.0.0.1", "--save", "", "--dir", str(directory), *options]
        self.client = redis.Redis(port=self.port, socket_timeout=5, retry=None)
        self.start()

    def start(self) -> None:
        """Start it, or start it again on the same port and files."""
        self.process = subprocess.Popen(self._command, stdout=subprocess.DEVNULL)
        eventually("redis-server is up", self._answers)

    def _answers(self) -> bool:
        assert self.process.poll() is None, f"redis-server exited with {self.process.returncode}"
        try:
            return bool(self.client.ping())
        except redis.RedisError:
            return False

    def kill(self) -> None:
        """End it as a power cut would."""
        self.process.kill()
        self.process.wait()

    def stop(self) -> None:
        """End it, whatever state it is in."""
        with suppress(ProcessLookupError):
            self.process.send_signal(signal.SIGCONT)
        self.kill()
        self.client.close()


@contextmanager
def running(binary: str, directory: Path, *options: str, port: int = 0) -> Iterator[RedisServer]:
    """A server for the length of a ``with``."""
    server = RedisServer(binary, directory, *options, port=port)
    try:
        yield server
    finally:
        server.stop()
