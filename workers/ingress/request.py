"""One request as a handler sees it: headers, the path's parameter, query, and a body read under limits.

A client that sends slowly holds nothing for long (`BODY_SECONDS_MAX`), and all bodies together are bounded (`Intake`), so
that neither a stalled link nor a thousand large uploads at once take the process down.
"""

import asyncio
from collections.abc import Awaitable, Callable, MutableMapping
from contextlib import suppress
from typing import Any
from urllib.parse import parse_qs

from workers.ingress.answer import RETRY_AFTER, Refused, unavailable

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]

BODY_SECONDS_MAX = 10.0
"""From the first byte of a body asked for to its last. The slowest honest client sends 8 MiB at 7 Mbit/s."""

INTAKE_BYTES_MAX = 128 * 2**20
"""Bodies held by requests that are not answered yet: 16 of the largest, or every webhook of a burst of 100,000 small ones."""

DISCARD_BYTES_MAX = 16 * 2**20
DISCARD_SECONDS_MAX = 2.0
"""Of a refused request's body this much is still read, and forgotten: most clients look for an answer only once they have sent
everything, and would see a broken connection instead."""

QUERY_FIELDS_MAX = 20


class Disconnected(Exception):
    """The client went away before its body was whole. Not an error of ours: nobody waits for an answer."""


class Intake:
    """The bytes of bodies that the process holds; each request gives back what it took when it is answered."""

    def __init__(self, bytes_max: int = INTAKE_BYTES_MAX) -> None:
        self.held = 0
        self._bytes_max = bytes_max

    def take(self, size: int) -> None:
        """Hold ``size`` bytes more. Raises Refused (503) when that is too many."""
        if self.held + size > self._bytes_max:
            raise unavailable("too many bytes in flight")
        self.held += size

    def give_back(self, size: int) -> None:
        """Let go of ``size`` bytes."""
        self.held -= size


class Request:
    """A request.

    Args:
        scope: of ASGI.
        receive: of ASGI.
        intake: bounds the bytes held.

    ``headers`` are by lower-case name, of a repeated one the last; ``parameter`` is the decoded variable segment of the path,
    empty where the route has none.
    """

    def __init__(self, scope: Scope, receive: Receive, intake: Intake) -> None:
        self.headers = {name.decode("latin-1"): value.decode("latin-1") for name, value in scope["headers"]}
        self.parameter = ""
        self.taken = 0
        self._query = scope.get("query_string", b"").decode("latin-1")
        self._receive = receive
        self._intake = intake
        self._read = self.headers.get("content-length", "0") == "0" and "transfer-encoding" not in self.headers

    def query(self, name: str) -> str | None:
        """The query's first value of ``name``. Raises Refused (400) for a query of too many fields."""
        try:
            values = parse_qs(self._query, keep_blank_values=True, max_num_fields=QUERY_FIELDS_MAX)
        except ValueError:
            raise Refused(400, "the query has too many fields") from None
        return values[name][0] if name in values else None

    def refuse_larger(self, bytes_max: int) -> None:
        """Raises Refused (413) when the request says itself that its body is larger; costs no byte of it."""
        declared = self.headers.get("content-length", "")
        if declared.isdecimal() and (len(declared) > 18 or int(declared) > bytes_max):
            raise _too_large(bytes_max)

    async def body(self, bytes_max: int) -> bytes:
        """The whole body. Raises Refused (413, 408, 503) or Disconnected."""
        chunks = []
        size = 0
        try:
            async with asyncio.timeout(BODY_SECONDS_MAX):
                while True:
                    event = await self._receive()
                    if event["type"] == "http.disconnect":
                        raise Disconnected
                    if chunk := event.get("body", b""):
                        size += len(chunk)
                        if size > bytes_max:
                            raise _too_large(bytes_max)
                        self._intake.take(len(chunk))
                        self.taken += len(chunk)
                        chunks.append(chunk)
                    if not event.get("more_body", False):
                        self._read = True
                        return chunks[0] if len(chunks) == 1 else b"".join(chunks)
        except TimeoutError:
            self._read = True  # as far as it ever will be
            raise Refused(408, f"the body took longer than {BODY_SECONDS_MAX:.0f} seconds", RETRY_AFTER) from None

    async def discard(self) -> None:
        """Read on, within bounds, and forget it: the request is refused. Not for a client that asked first (``Expect``)."""
        if self._read or "expect" in self.headers:
            return
        size = 0
        with suppress(TimeoutError):
            async with asyncio.timeout(DISCARD_SECONDS_MAX):
                while size < DISCARD_BYTES_MAX:
                    event = await self._receive()
                    size += len(event.get("body", b""))
                    if not event.get("more_body", False):
                        return

    def finish(self) -> None:
        """The request is answered: its bytes are no longer held."""
        self._intake.give_back(self.taken)
        self.taken = 0


def _too_large(bytes_max: int) -> Refused:
    return Refused(413, f"the body is larger than {bytes_max} bytes")
