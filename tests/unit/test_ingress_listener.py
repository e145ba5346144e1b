"""Two listeners on one port: who gets the new connections while one takes over from the other."""

import asyncio
import socket
import threading
from collections.abc import Iterator
from types import SimpleNamespace

import pytest

from shared.settings import Settings
from tests.conftest import free_ports
from workers.ingress import server
from workers.ingress.listener import has_clients, listen, take_over
from workers.local.ports import PortInUse

CONNECTIONS = 40


@pytest.fixture
def port() -> int:
    return free_ports(1)


@pytest.fixture
def opened() -> Iterator[list[socket.socket]]:
    """Whatever a test puts in is closed."""
    sockets: list[socket.socket] = []
    yield sockets
    for each in sockets:
        each.close()


def waiting(listener: socket.socket) -> int:
    """How many connections stand in its queue; they are taken out of it."""
    count = 0
    while True:
        try:
            listener.accept()[0].close()
        except BlockingIOError:
            return count
        count += 1


def test_the_one_that_takes_over_gets_every_new_connection_and_the_other_keeps_those_it_had(
    port: int, opened: list[socket.socket]
) -> None:
    old = listen("127.0.0.1", port, 128, share=False)
    opened += [old, *(socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS))]
    new = listen("127.0.0.1", port, 128, share=True)
    take_over(new)
    opened += [new, *(socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS))]
    assert (waiting(old), waiting(new)) == (CONNECTIONS, CONNECTIONS)


def test_after_the_other_is_gone_it_has_the_port_alone_and_the_next_may_take_over_from_it(
    port: int, opened: list[socket.socket]
) -> None:
    listeners = [listen("127.0.0.1", port, 128, share=False)]
    for _ in range(3):
        listeners.append(listen("127.0.0.1", port, 128, share=True))
        take_over(listeners[-1])
        listeners.pop(0).close()
        opened += [socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS)]
        assert waiting(listeners[-1]) == CONNECTIONS
    opened += listeners


def test_alone_it_gets_its_connections_whether_or_not_it_took_over(port: int, opened: list[socket.socket]) -> None:
    alone = listen("127.0.0.1", port, 128, share=True)
    take_over(alone)
    opened += [alone, *(socket.create_connection(("127.0.0.1", port)) for _ in range(CONNECTIONS))]
    assert waiting(alone) == CONNECTIONS


def test_a_port_is_shared_only_when_that_is_wanted(port: int, opened: list[socket.socket]) -> None:
    opened.append(listen("127.0.0.1", port, 8, share=False))
    with pytest.raises(PortInUse, match=f"127.0.0.1:{port} is in use; stop what listens there or set HEADRACE_INGRESS_PORT"):
        listen("127.0.0.1", port, 8, share=False)


def test_a_port_of_a_server_that_does_not_share_is_refused(opened: list[socket.socket]) -> None:
    other = socket.create_server(("127.0.0.1", 0))
    opened.append(other)
    with pytest.raises(PortInUse):
        listen("127.0.0.1", other.getsockname()[1], 8, share=True)


def test_it_is_known_whether_a_client_is_connected(port: int, opened: list[socket.socket]) -> None:
    listener = listen("127.0.0.1", port, 8, share=False)
    opened.append(listener)
    assert not has_clients(port)
    client = socket.create_connection(("127.0.0.1", port))
    listener.setblocking(True)
    server = listener.accept()[0]
    assert has_clients(port)
    client.close()
    server.close()
    assert not has_clients(port)


def test_a_leaving_ingress_goes_on_answering_while_it_counts_its_clients(monkeypatch: pytest.MonkeyPatch) -> None:
    counting, answered = threading.Event(), threading.Event()

    def count(_port: int) -> bool:
        counting.set()
        assert answered.wait(10), "the event loop stood still"
        return False

    monkeypatch.setattr(server, "has_clients", count)
    edge = SimpleNamespace(leaving=False)

    async def main() -> None:
        leaving = asyncio.create_task(server._leave(edge, Settings()))  # type: ignore[arg-type]
        while not counting.is_set():  # noqa: ASYNC110 - another thread tells
            await asyncio.sleep(0)
        answered.set()
        await leaving

    asyncio.run(main())
    assert edge.leaving
