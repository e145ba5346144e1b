"""A broker killed as by a power cut, with what that may leave at the end of its log."""

import threading
from pathlib import Path

from tests.redis_server import RedisServer

TORN = (
    b"*2\r\n$6\r\nSELECT\r\n$1\r\n0\r\n*1\r\n$5\r\nMULTI\r\n*3\r\n$4\r\nRPOP\r\n$11\r\nmessages.00\r\n",  # half a script
    b"*3\r\n$5\r\nLPUSH\r\n$8\r\nmess",  # half a publish
)


def restart(broker: RedisServer, directory: Path, number: int) -> None:
    """Kill it and start it again; every second ``number`` finds the log torn, and it is away for up to a second."""
    broker.kill()
    if number % 2:
        with (directory / "appendonly.aof").open("ab") as log:
            log.write(TORN[number // 2 % len(TORN)])
    threading.Event().wait(number % 11 / 10)
    broker.start()
