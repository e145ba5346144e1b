"""The envelope: a message as it stands in a queue, an ordinary Celery protocol-2 message in kombu's Redis format.

Written by hand: `apply_async` costs about 160 us a message, this and the producer around it 2.5 us of CPU before the write, and
every stock Celery worker reads it. What does not differ between two messages of a task and queue is encoded once (`mould`); the
body, the times and the id are spliced in. What a stock client sends as null, or nobody reads, is left out: bytes on their way to
the disk are most of the cost.
"""

import base64
from functools import lru_cache
from typing import Any, NamedTuple

import orjson
from uuid_utils import uuid4

from shared.topology import kind_of_task, lane_queue
from shared.tracing import TRACEPARENT, traceparent

ACCEPTED_AT = "headrace_accepted_at"
"""Header: wall-clock seconds when the edge took the message."""
VIA = "headrace_via"
"""Header: the way in, a label of `end_to_end_seconds`."""

HIDDEN = "(...)"
"""What stands for the arguments where a stock client would repeat them in a header, which logs and Flower show."""


class Enqueued(NamedTuple):
    """A message ready for its queue."""

    queue: str
    payload: bytes


NO_KEYWORDS = "],{},{}]"
OPENING, ID, ROOT, END = b'{"body":', b',"id":"', b'","root_id":"', b'"}}'


class Mould(NamedTuple):
    """What an envelope of one task and queue has between its variable parts: body, times, then the id three times."""

    headers: bytes
    properties: bytes


def envelope(task: str, argument: bytes, *, lane: int, accepted_at: float, via: str, task_id: str = "") -> Enqueued:
    """A message for a laned ``task`` whose one argument is the JSON text ``argument``.

    Args:
        task: a name of `shared.topology`.
        argument: JSON in UTF-8; embedded as it is, so it must be valid.
        lane: see `topology.lane_of`.
        accepted_at: wall-clock seconds.
        via: ``webhook``, ``api`` or ``celery``.
        task_id: the id to carry, for a caller that tells it on; else a new one.
    """
    queue = lane_queue(kind_of_task(task), lane)
    return Enqueued(queue, fill(mould(task, queue, via), argument, stamp(accepted_at), (task_id or str(uuid4())).encode()))


def stamp(accepted_at: float, eta: str = "") -> bytes:
    """The part of an envelope that says when it was taken, for a delayed one when it is due (RFC 3339), and its trace.

    A null `eta` is written out, because the transport hands over what has one without decoding it.
    """
    times = b'%b,"eta":%b' % (orjson.dumps(accepted_at), orjson.dumps(eta or None))
    carried = traceparent()
    return times + f',"{TRACEPARENT}":"{carried}"'.encode() if carried else times


def fill(form: Mould, argument: bytes, times: bytes, task_id: bytes) -> bytes:
    """The envelope of one message; the arguments are what `mould`, the caller, `stamp` and an id generator gave."""
    body = orjson.dumps("[[" + argument.decode() + NO_KEYWORDS)
    return b"".join((OPENING, body, form.headers, times, ID, task_id, ROOT, task_id, form.properties, task_id, END))


@lru_cache(maxsize=4096)
def mould(task: str, queue: str, via: str) -> Mould:
    """The constant parts for messages of ``task`` in ``queue``."""
    headers = {
        "lang": "py",
        "task": task,
        "retries": 0,
        "argsrepr": HIDDEN,
        "kwargsrepr": "{}",
        "origin": "headrace",
        "ignore_result": True,
        VIA: via,
    }
    properties = {
        "delivery_mode": 2,
        "delivery_info": {"exchange": "", "routing_key": queue},
        "priority": 0,
    }
    start = b',"content-encoding":"utf-8","content-type":"application/json","headers":' + orjson.dumps(headers)[:-1]
    return Mould(
        start + b',"' + ACCEPTED_AT.encode() + b'":',
        b'"},"properties":' + orjson.dumps(properties)[:-1] + b',"delivery_tag":"',
    )


def replayed(queue: str, task_id: str, headers: dict[str, Any], body: bytes) -> Enqueued:
    """A message given up on, as it was but for what would end it at once: its id, its expiry and its schedule.

    Args:
        queue: where it was consumed from.
        task_id: another id than before: should the message fail again, its new dead letter must not be taken for the old
            one, which is deleted after publishing.
        headers: its headers, with ``task``.
        body: its body, byte for byte.
    """
    kept = {name: value for name, value in headers.items() if name != "expires"}
    encoding: dict[str, str] = {}
    try:
        text = body.decode()
    except UnicodeDecodeError:
        text, encoding = base64.b64encode(body).decode(), {"body_encoding": "base64"}
    payload = {
        "body": text,
        "content-encoding": "utf-8",
        "content-type": "application/json",
        "headers": kept | {"id": task_id, "root_id": task_id, "retries": 0, "eta": None},
        "properties": {
            "correlation_id": task_id,
            "reply_to": "",
            "delivery_mode": 2,
            "delivery_info": {"exchange": "", "routing_key": queue},
            "priority": 0,
            "delivery_tag": task_id,
            **encoding,
        },
    }
    return Enqueued(queue, orjson.dumps(payload))
