"""Measuring processes: what the kernel says of real ones, and of those that are gone."""

import os
import subprocess
import sys
from pathlib import Path

import psutil
import pytest

from workers.memory import sampler as module
from workers.memory.pss import pss_bytes, resident_bytes
from workers.memory.sampler import Sampler

HOLD = "held = b'x' * (20 << 20); print('ready', flush=True); input()"


@pytest.fixture
def process():  # type: ignore[no-untyped-def]
    with subprocess.Popen([sys.executable, "-c", HOLD], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as it:
        assert it.stdout.readline()
        yield it
        it.kill()


def test_a_process_s_sizes_are_the_kernel_s(process: subprocess.Popen[bytes]) -> None:
    expected = psutil.Process(process.pid).memory_full_info()
    assert abs((pss_bytes(process.pid) or 0) - expected.pss) < 4 << 20
    assert abs((resident_bytes(process.pid) or 0) - expected.rss) < 4 << 20


def test_a_process_that_is_gone_has_no_size_and_is_no_error(process: subprocess.Popen[bytes]) -> None:
    process.kill()
    process.wait()
    assert pss_bytes(process.pid) is None
    assert resident_bytes(process.pid) is None
    sampler = Sampler(Path("/nonexistent"))
    sampler.pids = (process.pid, os.getpid())
    sampler.sample()
    assert sampler.latest is not None
    assert sampler.latest.pss.keys() == {os.getpid()}


def test_the_costly_size_is_asked_for_only_when_the_cheap_one_has_moved(monkeypatch: pytest.MonkeyPatch) -> None:
    now, resident, asked = 100.0, 50 << 20, []
    monkeypatch.setattr(module, "monotonic_seconds", lambda: now)
    monkeypatch.setattr(module, "resident_bytes", lambda pid: resident)
    monkeypatch.setattr(module, "pss_bytes", lambda pid: asked.append(pid) or resident)
    sampler = Sampler(Path("/nonexistent"))
    sampler.pids = (7,)
    for _ in range(3):
        sampler.sample()
    assert len(asked) == 1
    resident += module.MOVED_BYTES
    sampler.sample()
    assert len(asked) == 2
    now += module.ANEW_SECONDS
    sampler.sample()
    assert len(asked) == 3


def test_a_thread_measures_from_start_to_stop_and_again(monkeypatch: pytest.MonkeyPatch) -> None:
    from tests.waiting import eventually

    monkeypatch.setattr(module, "SAMPLE_SECONDS", 0.01)
    sampler = Sampler(Path("/nonexistent"))
    sampler.pids = (os.getpid(),)
    for _ in range(2):
        sampler.latest = None
        sampler.start()
        sampler.start()
        eventually("it measured", lambda: sampler.latest)
        sampler.stop()
