"""What a worker does when its time to drain is up."""

import signal
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest

from workers import lifecycle

WAITS = [sys.executable, "-S", "-c", "import signal; signal.pause()"]


@pytest.fixture
def children() -> Iterator[list[subprocess.Popen[bytes]]]:
    """Two; whatever happens, they are gone at the end."""
    found = [subprocess.Popen(WAITS, stdin=subprocess.DEVNULL) for _ in range(2)]
    yield found
    for child in found:
        child.kill()
        child.wait(10)


def test_a_child_that_ends_at_the_last_moment_spares_none_of_the_others(
    children: list[subprocess.Popen[bytes]], monkeypatch: pytest.MonkeyPatch
) -> None:
    seen = [psutil.Process(child.pid) for child in children]
    children[0].kill()
    children[0].wait(10)
    monkeypatch.setattr(psutil.Process, "children", lambda _parent, *, recursive: seen)
    lifecycle._kill_children()
    assert children[1].wait(10) == -signal.SIGKILL
