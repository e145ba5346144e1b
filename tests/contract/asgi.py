"""An ASGI client in the process: one request in, one reply out; the application lives on an event loop of its own thread."""

import asyncio
import json
import threading
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, NamedTuple
from urllib.parse import unquote

from workers.ingress.app import App

ANSWER_SECONDS_MAX = 30


class Reply(NamedTuple):
    """What came back; header names in lower case."""

    status: int
    headers: dict[str, str]
    body: bytes

    @property
    def json(self) -> Any:
        return json.loads(self.body)


class Client:
    """``make`` builds the application on the client's loop; ``close`` runs there at the end."""

    def __init__(self, make: Callable[[], App], close: Callable[[], Awaitable[None]]) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._thread.start()
        self._close = close
        self._app = self.run(_made(make))

    def run(self, coroutine: Any) -> Any:
        return asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(ANSWER_SECONDS_MAX)

    def request(
        self,
        method: str,
        path: str,
        body: bytes | Sequence[bytes] = b"",
        headers: dict[str, str] | None = None,
        *,
        raw_headers: list[tuple[bytes, bytes]] | None = None,
    ) -> Reply:
        """``body``: whole, or in the chunks in which it arrives. ``raw_headers`` instead of ``headers``: as they are."""
        pairs = raw_headers
        if pairs is None:
            pairs = [(name.lower().encode(), value.encode("latin-1")) for name, value in (headers or {}).items()]
        chunks = [body] if isinstance(body, bytes) else list(body)
        return self.run(self.exchange(method, path, chunks, pairs))

    async def exchange(self, method: str, path: str, chunks: list[bytes], headers: list[tuple[bytes, bytes]]) -> Reply:
        raw_path, _, query = path.partition("?")
        scope = {
            "type": "http",
            "method": method,
            "path": unquote(raw_path),
            "raw_path": raw_path.encode(),
            "query_string": query.encode(),
            "headers": headers,
        }
        sent: list[Any] = []

        async def receive() -> dict[str, Any]:
            if not chunks:
                return {"type": "http.disconnect"}
            return {"type": "http.request", "body": chunks.pop(0), "more_body": bool(chunks)}

        async def send(event: Any) -> None:
            sent.append(event)

        await self._app(scope, receive, send)
        names = {name.decode(): value.decode() for name, value in sent[0]["headers"]}
        return Reply(sent[0]["status"], names, b"".join(event.get("body", b"") for event in sent[1:]))

    def close(self) -> None:
        self.run(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _made(make: Callable[[], App]) -> App:
    return make()
