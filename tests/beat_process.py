"""A beat with a schedule of a test's own: ``python -m tests.beat_process URL TASK SECONDS``."""

import sys
import threading

from shared.redis_client import connect
from shared.schedule import Entry
from workers.beat import Beat

if __name__ == "__main__":
    url, task, seconds = sys.argv[1:]
    Beat(connect(url, timeout=2), [Entry(task, float(seconds))]).run(threading.Event())
