"""HAProxy with the configuration that we ship, in front of ingresses of a test's own."""

import os
import shutil
import socket
import subprocess
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.redis_server import free_port
from tests.waiting import eventually

HAPROXY = shutil.which("haproxy", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
CONFIGURATION = Path(__file__).parents[1] / "deploy/haproxy/haproxy.cfg"

needs_haproxy = pytest.mark.skipif(not HAPROXY, reason="no haproxy on this machine")


def environment(directory: Path, port: int, ingresses: tuple[str, ...]) -> dict[str, str]:
    """What the configuration reads."""
    return {
        "HEADRACE_BIND": f"127.0.0.1:{port}",
        "HEADRACE_HAPROXY_SOCKET": str(directory / "admin"),
        "HEADRACE_HAPROXY_METRICS": f"127.0.0.1:{free_port()}",
        **{f"HEADRACE_INGRESS_{number}": each for number, each in enumerate(ingresses, 1)},
    }


class Haproxy:
    """A running one."""

    def __init__(self, port: int, admin: Path) -> None:
        self.port = port
        self._admin = admin

    def up(self) -> int:
        """How many ingresses it takes for ready."""
        with socket.socket(socket.AF_UNIX) as link:
            link.connect(str(self._admin))
            link.sendall(b"show stat ingresses 4 -1\n")
            lines = b"".join(iter(lambda: link.recv(65536), b"")).decode().splitlines()
        column = lines[0].split(",").index("status")
        return sum(line.split(",")[column] == "UP" for line in lines[1:] if line)


@contextmanager
def haproxy(*ingresses: str, ready: bool = True) -> Iterator[Haproxy]:
    """In front of ``ingresses``, each ``host:port``, for the length of a ``with``; with ``ready``, once all of them are."""
    assert HAPROXY
    directory, port = Path(tempfile.mkdtemp(prefix="hr-")), free_port()  # a socket's path is short
    process = subprocess.Popen(
        [HAPROXY, "-q", "-f", CONFIGURATION],
        env={**os.environ, **environment(directory, port, ingresses)},
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    try:
        it = Haproxy(port, directory / "admin")
        eventually("HAProxy runs", (directory / "admin").exists)
        eventually("every ingress is as wanted", lambda: it.up() == (len(ingresses) if ready else 0), within=30)
        yield it
    finally:
        process.kill()
        process.wait()
        shutil.rmtree(directory)
