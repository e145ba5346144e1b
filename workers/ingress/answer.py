"""What goes back over HTTP: a JSON body, or an RFC 9457 problem. A problem says what is wrong and shows no content."""

from http import HTTPStatus
from typing import Any, NamedTuple

import orjson

from shared.errors import HeadraceError

JSON = b"application/json"
PROBLEM = b"application/problem+json"

Header = tuple[bytes, bytes]

RETRY_AFTER: Header = (b"retry-after", b"1")
"""Seconds. Most outages end with a restart of a second or two; a client that backs off by itself does so from there."""


class Answer(NamedTuple):
    """A response, whole."""

    status: int
    body: bytes
    content_type: bytes = JSON
    headers: tuple[Header, ...] = ()


class Refused(HeadraceError):
    """The request is answered with a problem. Raised anywhere below a handler; the app sends ``answer``."""

    def __init__(self, status: int, detail: str, *headers: Header, **members: Any) -> None:
        super().__init__(detail)
        self.answer = problem(status, detail, *headers, **members)


def json(status: int, value: Any) -> Answer:
    """``value`` as JSON; instants in RFC 3339 with Z."""
    return Answer(status, orjson.dumps(value, option=orjson.OPT_UTC_Z))


def problem(status: int, detail: str, *headers: Header, **members: Any) -> Answer:
    """A problem; ``members`` extend it, such as ``errors``."""
    title = HTTPStatus(status).phrase
    document = {"type": "about:blank", "title": title, "status": status, "detail": detail, **members}
    return Answer(status, orjson.dumps(document), PROBLEM, headers)


def unavailable(what: str) -> Refused:
    """503: repeating is safe and will help."""
    return Refused(503, f"{what}; repeat the whole request", RETRY_AFTER)
