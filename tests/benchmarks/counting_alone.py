"""`python -m tests.benchmarks.counting_alone`: what a worker and its children count of one batch, and nothing else.

Prints the CPU time of it in microseconds a message. Where it counts, and whether, HEADRACE_METRICS_DIR and HEADRACE_METRICS say.
"""

import sys
from time import process_time

from shared.metrics import DB_POOL_WAIT_SECONDS, QUERY_SECONDS
from shared.outcome import Done
from tasks import measure

SIZE, STATEMENTS, BATCHES = 400, 8, 500
"""A full batch; statements of one, generously; how often."""


def main() -> None:
    """Count, and print."""
    outcomes = [Done()] * SIZE
    started = process_time()
    for _ in range(BATCHES):
        measure.settled("messages", outcomes, 0.03)
        measure.committed(("api", 0.01 + number * 1e-4) for number in range(SIZE))
        DB_POOL_WAIT_SECONDS.labels("primary").observe(0.001)
        for _ in range(STATEMENTS):
            QUERY_SECONDS.labels("messages.write").observe(0.01)
    sys.stdout.write(f"{(process_time() - started) / (BATCHES * SIZE) * 1e6}\n")


if __name__ == "__main__":
    main()
