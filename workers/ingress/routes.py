"""Every route, the busiest first. Paths are matched raw: an id may hold a slash, sent as ``%2F``."""

import re
from collections.abc import Awaitable, Callable
from typing import NamedTuple
from urllib.parse import unquote_to_bytes

from workers.ingress import messages, reads, service, webhooks
from workers.ingress.answer import Answer, Refused
from workers.ingress.edge import Edge
from workers.ingress.request import Request

Handler = Callable[[Edge, Request], Awaitable[Answer]]


class Route(NamedTuple):
    """A path and its one method. ``template`` is the metric's label and the key in the OpenAPI document."""

    method: str
    template: str
    handler: Handler
    pattern: re.Pattern[bytes]

    @property
    def methods(self) -> tuple[str, ...]:
        """What the path allows."""
        return ("GET", "HEAD") if self.method == "GET" else (self.method,)


def _route(method: str, template: str, handler: Handler) -> Route:
    return Route(method, template, handler, re.compile(re.sub(r"\\{\w+\\}", r"([^/]*)", re.escape(template)).encode()))


ROUTES = (
    _route("POST", "/v1/webhooks/{channel_id}", webhooks.take),
    _route("POST", "/v1/messages", messages.take),
    _route("GET", "/v1/conversations", reads.list_conversations),
    _route("GET", "/v1/conversations/{conversation_id}/messages", reads.list_messages),
    _route("GET", "/v1/stats", reads.stats),
    _route("GET", "/livez", service.livez),
    _route("GET", "/readyz", service.readyz),
    _route("GET", "/metrics", service.metrics),
    _route("GET", "/openapi.json", service.openapi),
    _route("GET", "/docs", service.docs),
)


def find(path: bytes) -> tuple[Route, str] | None:
    """The route of a raw path, and its decoded parameter (empty without one); None when there is none."""
    for route in ROUTES:
        if match := route.pattern.fullmatch(path):
            try:
                return route, unquote_to_bytes(match[1]).decode() if match.lastindex else ""
            except UnicodeDecodeError:
                return None
    return None


def check_method(route: Route, method: str) -> None:
    """Raises Refused (405) unless the route takes ``method``."""
    if method not in route.methods:
        allowed = ", ".join(route.methods)
        raise Refused(405, f"this path takes {allowed}", (b"allow", allowed.encode()))
