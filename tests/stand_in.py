"""A stand-in for the fleet's two ways in, which a test tells what becomes of each message before it is answered."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from shared.clock import wall_seconds
from shared.db.session import read_session
from shared.message import Message, decode_message
from shared.store import accounts, channels
from tasks.sources import standard

Accept = Callable[[str, Message], int]
"""(account, message) to the HTTP status."""


class StandIn:
    """The ingress's two ways in; ``accept`` decides what becomes of a message before it is answered."""

    def __init__(self, accept: Accept) -> None:
        self._accept = accept

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        while lines := await _head(reader):
            headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:] if line)}
            body = await reader.readexactly(int(headers["content-length"]))
            path = lines[0].split()[1]
            status = 200 if path == "/livez" else await asyncio.to_thread(self._status, path, headers, body)
            writer.write(f"HTTP/1.1 {status} X\r\nContent-Length: 2\r\n\r\n{{}}".encode())
        writer.close()

    def _status(self, path: str, headers: dict[str, str], body: bytes) -> int:
        with read_session() as session:
            if path == "/v1/messages":
                account_id = accounts.id_of_key(session, accounts.hash_of(headers["authorization"].removeprefix("Bearer ")))
                channel = None
            else:
                channel = channels.find(session, path.removeprefix("/v1/webhooks/"))
                account_id = channel.account_id if channel else None
        assert account_id
        message = decode_message(body) if channel is None else _parsed(headers, body, channel.secrets)
        return self._accept(account_id, message)


async def _head(reader: asyncio.StreamReader) -> list[str]:
    try:
        return (await reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")
    except (asyncio.IncompleteReadError, ConnectionError):
        return []


def _parsed(headers: dict[str, str], body: bytes, secrets: tuple[str, ...]) -> Message:
    standard.verify(headers, body, secrets, wall_seconds())
    message = standard.parse("message.created", body)
    assert message
    return message


@contextmanager
def serving(accept: Accept, port: int) -> Iterator[None]:
    """A StandIn on a loopback port, in a thread."""
    ready, loop = threading.Event(), asyncio.new_event_loop()

    async def serve() -> None:
        server = await asyncio.start_server(StandIn(accept).answer, "127.0.0.1", port)
        stop.append(asyncio.current_task())
        ready.set()
        await server.serve_forever()

    def work() -> None:
        with asyncio.Runner(loop_factory=lambda: loop) as runner, pytest.raises(asyncio.CancelledError):
            runner.run(serve())

    stop: list[Any] = []
    thread = threading.Thread(target=work)
    thread.start()
    assert ready.wait(10)
    try:
        yield
    finally:
        loop.call_soon_threadsafe(stop[0].cancel)
        thread.join(10)
