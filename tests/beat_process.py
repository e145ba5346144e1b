"""Beats with a schedule of a test's own, as processes: ``python -m tests.beat_process URL TASK SECONDS``."""

import json
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager

import redis

from shared.redis_client import connect
from shared.schedule import Entry
from shared.topology import MAINTENANCE
from workers.beat import Beat


def start(url: str, task: str, seconds: float) -> "subprocess.Popen[bytes]":
    """One, whose end is its caller's business."""
    command = [sys.executable, "-m", "tests.beat_process", url, task, str(seconds)]
    return subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)


@contextmanager
def beats(url: str, task: str, seconds: float, count: int) -> "Iterator[list[subprocess.Popen[bytes]]]":
    """So many, gone at the end; whoever replaces one in the list has it ended too."""
    processes = [start(url, task, seconds) for _ in range(count)]
    try:
        yield processes
    finally:
        for process in processes:
            process.kill()
            process.wait(10)


def due_ms(payload: bytes) -> int:
    """When the tick of a message was due."""
    due: int = json.loads(json.loads(payload)["body"])[0][0]
    return due


def dues(broker: redis.Redis) -> list[int]:
    """When the ticks in the queue were due, in the order in which they were sent."""
    return [due_ms(payload) for payload in reversed(broker.lrange(MAINTENANCE, 0, -1))]


if __name__ == "__main__":
    url, task, seconds = sys.argv[1:]
    Beat(connect(url, timeout=2), [Entry(task, float(seconds))]).run(threading.Event())
