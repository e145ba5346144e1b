"""A producer that publishes in bulk, as a process to be killed: ``python -m tests.chaos.bulk BROKER ACCOUNT TOTAL``."""

import sys
from collections.abc import Iterator

from shared.message import Message
from tests.chaos.load import to_lanes
from tests.factory import message

BATCH = 500


def producer(broker_url: str, account: str, total: int) -> list[str]:
    """Its command line; it prints a line after each batch."""
    return [sys.executable, "-m", "tests.chaos.bulk", broker_url, account, str(total)]


def produced(total: int) -> Iterator[Message]:
    """What it sends, the same in each run."""
    return (message(f"bulk-{number:06d}", f"bulk-c{number % 50}") for number in range(total))


def main() -> None:
    """See the module."""
    broker_url, account, total = sys.argv[1:]
    send, messages = to_lanes(broker_url, account), list(produced(int(total)))
    for start in range(0, len(messages), BATCH):
        send(messages[start : start + BATCH])
        sys.stdout.write(f"{start}\n")
        sys.stdout.flush()


if __name__ == "__main__":
    main()
