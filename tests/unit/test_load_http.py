"""The load generator's HTTP connection: kept alive, reopened when the server closed it, never out of step."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import pytest

from loadgen.http import Connection, Response

T = TypeVar("T")
Serve = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]

ACCEPTED = b"HTTP/1.1 202 Accepted\r\nContent-Length: 2\r\n\r\n{}"


def with_server(serve: Serve, work: Callable[[Connection], Awaitable[T]], *, seconds: float = 5) -> T:
    async def main() -> T:
        async with await asyncio.start_server(serve, "127.0.0.1", 0) as server:
            connection = Connection("127.0.0.1", server.sockets[0].getsockname()[1], timeout=seconds)
            try:
                return await work(connection)
            finally:
                connection.close()

    return asyncio.run(main())


class Server:
    """Answers each request with ``answer``; counts connections and remembers requests."""

    def __init__(self, answer: bytes = ACCEPTED, *, requests_a_connection: int = 1_000) -> None:
        self.connections = 0
        self.requests: list[bytes] = []
        self._answer = answer
        self._left = requests_a_connection
        self.closed = asyncio.Event()

    async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.connections += 1
        for _ in range(self._left):
            try:
                head = await reader.readuntil(b"\r\n\r\n")
            except asyncio.IncompleteReadError:
                break
            length = int(head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0])
            self.requests.append(head + await reader.readexactly(length))
            writer.write(self._answer)
        writer.close()
        self.closed.set()


def test_requests_share_one_connection_and_carry_host_length_and_body() -> None:
    server = Server()

    async def work(connection: Connection) -> list[Response]:
        return [await connection.request("POST /x HTTP/1.1\r\na: b\r\n", b"body") for _ in range(3)]

    assert with_server(server, work) == [Response(202, None)] * 3
    assert server.connections == 1
    assert server.requests[0].startswith(b"POST /x HTTP/1.1\r\na: b\r\nhost: 127.0.0.1:")
    assert server.requests[0].endswith(b"\r\ncontent-length: 4\r\n\r\nbody")


def test_a_connection_that_the_server_closed_while_idle_is_opened_again_without_an_error() -> None:
    server = Server(requests_a_connection=1)

    async def work(connection: Connection) -> int:
        await connection.request("GET / HTTP/1.1\r\n")
        await server.closed.wait()
        while not connection.ended:  # noqa: ASYNC110 - what the loop has read shows in nothing else
            await asyncio.sleep(0)
        return (await connection.request("GET / HTTP/1.1\r\n")).status

    assert with_server(server, work) == 202
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 503 X\r\nretry-after: 7\r\nconnection: close\r\ncontent-length: 0\r\n\r\n",
        b"HTTP/1.1 503 X\r\nRetry-After: 7\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    ],
)
def test_an_answer_that_ends_the_connection_or_has_no_length_is_not_mixed_up_with_the_next(answer: bytes) -> None:
    server = Server(answer)

    async def work(connection: Connection) -> list[Response]:
        return [await connection.request("GET / HTTP/1.1\r\n") for _ in range(2)]

    assert with_server(server, work) == [Response(503, 7.0)] * 2
    assert server.connections == 2


@pytest.mark.parametrize(
    "answer", [b"", b"HTTP/1.1 202", b"HTTP/1.1 2x2 \r\n\r\n", b"HTTP/1.1 202 X\r\ncontent-length: 9\r\n\r\n{}"]
)
def test_an_answer_cut_off_or_not_http_is_a_connection_error(answer: bytes) -> None:
    server = Server(answer, requests_a_connection=1)
    with pytest.raises(ConnectionError):
        with_server(server, lambda connection: connection.request("GET / HTTP/1.1\r\n"))


def test_a_late_answer_is_a_time_out_and_is_not_taken_for_the_next_requests() -> None:
    class Late(Server):
        async def __call__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            if self.connections:
                return await super().__call__(reader, writer)
            self.connections += 1
            await reader.read()  # until the client gives up
            writer.close()
            return None

    async def work(connection: Connection) -> int:
        with pytest.raises(TimeoutError):
            await connection.request("GET / HTTP/1.1\r\n")
        return (await connection.request("GET / HTTP/1.1\r\n")).status

    assert with_server(Late(), work, seconds=0.2) == 202


def test_a_closed_port_is_a_connection_error() -> None:
    with pytest.raises(ConnectionError):
        asyncio.run(Connection("127.0.0.1", 20298, timeout=2).request("GET / HTTP/1.1\r\n"))
