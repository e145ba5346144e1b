"""Publishing, pipelined and confirmed: `publish` returns once the broker has written every message to its log.

An envelope is an ordinary Celery protocol-2 message in kombu's Redis format, written by hand: `apply_async` costs about
160 us a message, this 10 us, and every stock Celery worker reads it. Many messages of a queue go in one ``LPUSH``: one
round trip, one fsync.
"""

import base64
from collections.abc import Iterable
from typing import Any, NamedTuple

import orjson
import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from uuid_utils import uuid4

from shared.broker.keys import WAKE
from shared.errors import BrokerUnavailable
from shared.topology import KIND_OF_TASK, lane_queue

ACCEPTED_AT = "headrace_accepted_at"
"""Header: wall-clock seconds when the edge took the message."""
VIA = "headrace_via"
"""Header: the way in, a label of `end_to_end_seconds`."""


class Enqueued(NamedTuple):
    """A message ready for its queue."""

    queue: str
    payload: bytes


def envelope(task: str, argument: bytes, *, lane: int, accepted_at: float, via: str, task_id: str = "") -> Enqueued:
    """A message for ``task`` whose one argument is the JSON text ``argument``.

    Args:
        task: a name of `shared.topology`.
        argument: JSON in UTF-8; embedded as it is, so it must be valid.
        lane: see `topology.lane_of`.
        accepted_at: wall-clock seconds.
        via: ``webhook``, ``api`` or ``celery``.
        task_id: the id to carry, for a caller that tells it on; else a new one.
    """
    task_id = task_id or str(uuid4())
    headers = {
        "lang": "py",
        "task": task,
        "id": task_id,
        "root_id": task_id,
        "parent_id": None,
        "group": None,
        "retries": 0,
        "eta": None,
        "expires": None,
        "timelimit": [None, None],
        "argsrepr": "(...)",
        "kwargsrepr": "{}",
        "origin": "headrace",
        "ignore_result": True,
        ACCEPTED_AT: accepted_at,
        VIA: via,
    }
    body = "[[" + argument.decode() + '],{},{"callbacks":null,"errbacks":null,"chain":null,"chord":null}]'
    return _enqueued(lane_queue(KIND_OF_TASK[task], lane), headers, body)


def replayed(queue: str, task_id: str, headers: dict[str, Any], body: bytes) -> Enqueued:
    """A message given up on, as it was but for what would end it at once: its id, its expiry and its schedule.

    Args:
        queue: where it was consumed from.
        task_id: another id than before: should the message fail again, its new dead letter must not be taken for the old
            one, which is deleted after publishing.
        headers: its headers, with ``task``.
        body: its body, byte for byte.
    """
    fresh = {"id": task_id, "root_id": task_id, "retries": 0, "eta": None, "expires": None}
    try:
        return _enqueued(queue, headers | fresh, body.decode())
    except UnicodeDecodeError:
        return _enqueued(queue, headers | fresh, base64.b64encode(body).decode(), body_encoding="base64")


def _enqueued(queue: str, headers: dict[str, Any], body: str, **more: str) -> Enqueued:
    properties = {
        "correlation_id": headers["id"],
        "reply_to": "",
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
        "delivery_tag": headers["id"],
        **more,
    }
    payload = {
        "body": body,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": headers,
        "properties": properties,
    }
    return Enqueued(queue, orjson.dumps(payload))


class Producer:
    """Writes messages to the broker. Thread-safe; blocking: an event loop calls it in a thread.

    Args:
        broker_url: ``redis://`` or ``rediss://``.
        timeout: seconds to connect and to wait for each answer.
    """

    def __init__(self, broker_url: str, *, timeout: float = 5) -> None:
        # One repetition covers a connection that the server closed while idle. Writing a message twice has no effect.
        self._redis = redis.Redis.from_url(
            broker_url,
            socket_timeout=timeout,
            socket_connect_timeout=timeout,
            retry=Retry(NoBackoff(), 1),
            retry_on_error=[redis.ConnectionError],
        )

    def publish(self, messages: Iterable[Enqueued]) -> None:
        """Append ``messages`` to their queues, in order, in one atomic write.

        Raises BrokerUnavailable when the broker did not confirm; then some or all may have been written.
        """
        by_queue: dict[str, list[bytes]] = {}
        for queue, payload in messages:
            by_queue.setdefault(queue, []).append(payload)
        try:
            pipeline = self._redis.pipeline(transaction=len(by_queue) > 1)
            for queue, payloads in by_queue.items():
                pipeline.lpush(queue, *payloads)
            pipeline.publish(WAKE, " ".join(by_queue))  # an idle worker hears it
            pipeline.execute()
        except redis.ResponseError as error:
            # Its text quotes the command, and so a message.
            raise BrokerUnavailable(f"the broker did not confirm: {type(error).__name__}") from None
        except redis.RedisError as error:
            raise BrokerUnavailable(f"the broker did not confirm: {error}") from error

    def ping(self) -> None:
        """Raises BrokerUnavailable unless the broker answers."""
        try:
            self._redis.ping()
        except redis.RedisError as error:
            raise BrokerUnavailable(f"the broker does not answer: {error}") from error

    def close(self) -> None:
        """Close the connections."""
        self._redis.close()
