"""A consumer on the transport, as a process: ``python -m tests.broker_consumer BROKER EFFECTS LEASE SECONDS QUEUE...``.

It does what the parent of a Celery worker does, in as many lines: an event loop, a callback, late acks, and a fresh start after
a connection error. A message's effect, after SECONDS of work, is its body at the end of the list ``effects`` of another Redis.
"""

import sys
from contextlib import suppress
from threading import Event
from typing import Any

import kombu
import redis
from kombu.asynchronous import Hub, set_event_loop

from shared.broker.transport import install


def say(what: str) -> None:
    """To the log that the test reads."""
    sys.stdout.write(f"{what}\n")
    sys.stdout.flush()


def consume(hub: Hub, url: str, lease_seconds: float, queues: list[str], on_message: Any) -> None:
    """Until the connection is lost."""
    options = {"lease_seconds": lease_seconds, "socket_timeout": 2, "master_name": "mymaster"}  # the name is for sentinel://
    connection = kombu.Connection(url, transport_options=options)
    try:
        connection.ensure_connection(interval_start=0.1, interval_step=0.1, interval_max=0.5)
        connection.transport.register_with_event_loop(connection.connection, hub)
        connection.default_channel.basic_qos(0, 20, False)
        kombu.Consumer(connection.default_channel, [kombu.Queue(name) for name in queues], on_message=on_message).consume()
        say("ready")
        hub.propagate_errors = connection.connection_errors
        loop = hub.create_loop()
        while True:
            next(loop)
    except connection.connection_errors as error:
        say(f"{type(error).__name__} {error}")
    hub.timer.clear()
    hub.reset()
    hub.on_tick.clear()
    with suppress(Exception):
        connection.collect(socket_timeout=2)
    with suppress(Exception):
        connection.close()


def main() -> None:
    """See the module."""
    url, effects_url, lease, seconds, *queues = sys.argv[1:]
    install()
    effects = redis.Redis.from_url(effects_url)
    hub = Hub()
    set_event_loop(hub)

    def on_message(message: Any) -> None:
        Event().wait(float(seconds))
        effects.rpush("effects", message.body)
        message.ack()

    while True:
        consume(hub, url, float(lease), queues, on_message)


if __name__ == "__main__":
    main()
