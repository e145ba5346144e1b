"""The ASGI application: find the route, run its handler, answer. Written to ASGI itself, for the two POSTs are the hot path.

The way of a request: `routes.find` -> a handler (`webhooks.take`, `messages.take`, `reads`, `service`) -> `Answer`. Every
refusal is an RFC 9457 problem, and whatever a request holds, nothing is raised to the server.
"""

import traceback
from functools import lru_cache
from typing import Any
from urllib.parse import quote

from shared.clock import monotonic_seconds
from shared.log import get_logger
from shared.metrics import INGRESS_SECONDS
from shared.tracing import describe_request, request_span
from workers.ingress import routes
from workers.ingress.answer import Answer, Refused, problem
from workers.ingress.edge import Edge
from workers.ingress.request import Disconnected, Receive, Request, Scope, Send

log = get_logger(__name__)

CLOSE = (b"connection", b"close")
"""The client's next request goes on a connection of its own: to whoever takes over."""

UNMATCHED = "unmatched"
"""Label of paths that there are not: one, or a scanner would make a time series a guess."""


TRACED = "/v1/"
"""Probes and scrapes are nobody's trace."""


class App:
    """An ASGI application over an `Edge`; HTTP only."""

    def __init__(self, edge: Edge) -> None:
        self._edge = edge

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        method = scope["method"]
        if not scope["path"].startswith(TRACED):
            await self._serve(scope, receive, send)
            return
        with request_span(method, scope["headers"]) as span:
            served = await self._serve(scope, receive, send)
            if served is not None:
                describe_request(span, method, *served)

    async def _serve(self, scope: Scope, receive: Receive, send: Send) -> tuple[str, int] | None:
        """The route's template and the status; None when the client went away."""
        started = monotonic_seconds()
        request = Request(scope, receive, self._edge.intake)
        template = UNMATCHED
        try:
            route = self._route(scope, request)
            template = route.template
            routes.check_method(route, scope["method"])
            answer = await self._answer(route, request)
        except Refused as refused:
            answer = refused.answer
            await request.discard()
        except Disconnected:
            return None
        finally:
            request.finish()
        if self._edge.leaving:
            answer = answer._replace(headers=(*answer.headers, CLOSE))
        await _send(send, answer, head=scope["method"] == "HEAD")
        _seconds(template, answer.status).observe(monotonic_seconds() - started)
        return template, answer.status

    def _route(self, scope: Scope, request: Request) -> routes.Route:
        found = routes.find(scope.get("raw_path") or quote(scope["path"]).encode())
        if found is None:
            raise Refused(404, "there is nothing at this path")
        route, request.parameter = found
        return route

    async def _answer(self, route: routes.Route, request: Request) -> Answer:
        try:
            return await route.handler(self._edge, request)
        except (Refused, Disconnected):
            raise
        except Exception as error:  # noqa: BLE001 - a fault of ours costs one request, never the process
            trace = traceback.format_tb(error.__traceback__)  # lines of code; the error's own text might quote a message
            log.error("request failed", route=route.template, reason=type(error).__name__, trace=trace)
            return problem(500, "the request failed; the log says why")


async def _send(send: Send, answer: Answer, *, head: bool) -> None:
    headers = [
        (b"content-type", answer.content_type),
        (b"content-length", str(len(answer.body)).encode()),
        *answer.headers,
    ]
    await send({"type": "http.response.start", "status": answer.status, "headers": headers})
    await send({"type": "http.response.body", "body": b"" if head else answer.body})


@lru_cache(maxsize=256)
def _seconds(template: str, status: int) -> Any:
    """The histogram's child; finding it anew would cost more than observing."""
    return INGRESS_SECONDS.labels(template, status)
