"""A stock Celery client as a process of its own: it knows nothing of Headrace but the task's name and the queue.

`send_task` blocks and costs about 650 us of CPU a message (best of 5 x 200 in a loop; about 2 ms with a fleet beside it on
2 cores). A process of its own keeps that off the interpreter's lock that the schedule needs.

Speaks lines: the broker's URL comes first on stdin (an argument would show in the process list), then one JSON argument a
line; each is answered on stdout by OK or REFUSED, the URL too. Ends when stdin ends.
"""

import json
import sys
from typing import BinaryIO

from celery import Celery
from kombu.exceptions import OperationalError

TASK = "messages.store"
QUEUE = "messages"

OK = b"ok\n"
REFUSED = b"refused\n"

ANSWER_SECONDS = 10.0
"""Waiting for the broker, which a stock client by default does for ever."""


def serve(lines: BinaryIO, answers: BinaryIO) -> None:
    """Send what comes in on ``lines`` until it ends."""
    client = Celery(broker=lines.readline().decode().strip(), set_as_current=False)
    client.conf.broker_transport_options = {"socket_timeout": ANSWER_SECONDS}
    connection = client.connection_for_write()  # not connected: only asked what its transport may raise
    refusals = (OperationalError, *connection.connection_errors, *connection.channel_errors)
    answers.write(OK)
    answers.flush()
    for line in lines:
        try:
            client.send_task(TASK, args=[json.loads(line)], queue=QUEUE)
        except refusals:
            answers.write(REFUSED)
        else:
            answers.write(OK)
        answers.flush()


if __name__ == "__main__":
    serve(sys.stdin.buffer, sys.stdout.buffer)
