"""What the process says of itself: alive, ready, its metrics, its description."""

import asyncio

import orjson

from shared.metrics import CONTENT_TYPE, exposition
from workers.ingress.answer import RETRY_AFTER, Answer, Refused, json
from workers.ingress.docs import PAGE
from workers.ingress.edge import Edge
from workers.ingress.openapi import DOCUMENT
from workers.ingress.request import Request

OPENAPI = Answer(200, orjson.dumps(DOCUMENT))
DOCS = Answer(
    200,
    PAGE.encode(),
    b"text/html; charset=utf-8",
    ((b"content-security-policy", b"default-src 'none'; style-src 'unsafe-inline'"),),
)


async def livez(_edge: Edge, _request: Request) -> Answer:
    """``GET /livez``: the event loop turns."""
    return json(200, {"alive": True})


async def readyz(edge: Edge, _request: Request) -> Answer:
    """``GET /readyz``: broker and database answer. 503 names what does not, or says that it stops."""
    if edge.leaving:
        raise Refused(503, "not ready: it stops", RETRY_AFTER)
    if missing := await edge.readiness.missing():
        raise Refused(503, f"not ready: no answer from the {' and the '.join(missing)}", RETRY_AFTER, missing=missing)
    return json(200, {"ready": True})


async def metrics(_edge: Edge, _request: Request) -> Answer:
    """``GET /metrics``; in a thread, because a fleet's counters are many files."""
    return Answer(200, await asyncio.to_thread(exposition), CONTENT_TYPE.encode())


async def openapi(_edge: Edge, _request: Request) -> Answer:
    """``GET /openapi.json``."""
    return OPENAPI


async def docs(_edge: Edge, _request: Request) -> Answer:
    """``GET /docs``: the same for people, without a byte from elsewhere."""
    return DOCS
