"""The process: Granian embedded in our own event loop, one process and one loop, so that a signal or a kill has one address.

SIGTERM or SIGINT: for up to `ingress_leave_seconds` it goes on, not ready any more, and tells each client with its answer to
come back on another connection, which a load balancer or the ingress that takes over gets. Then the listener closes, requests
under way are answered, and the process ends; at most `drain_seconds` in all.
"""

import asyncio
import gc
import os
import resource
import signal
import socket
from pathlib import Path

from granian._granian import SocketHolder
from granian.constants import HTTPModes, Interfaces
from granian.http import HTTP1Settings
from granian.log import LogLevels
from granian.server.embed import Server

from shared import tracing
from shared.errors import HeadraceError
from shared.log import get_logger
from shared.producer import Producer
from shared.settings import Settings
from workers.ingress.app import App
from workers.ingress.edge import Edge
from workers.ingress.listener import has_clients, listen, take_over

log = get_logger(__name__)

CONNECTIONS_MAX = 8_192
"""Open connections; more wait in the kernel's backlog. An idle one costs a few KB."""

LEAVE_LOOK_SECONDS = 0.1
"""Between two looks whether a client is still connected."""

OTHER_FILES = 256
"""Descriptors that are not connections of clients."""

BACKLOG = 1_024
"""Connections the kernel holds while none can be accepted: a second of a busy day."""

HEADER_MS_MAX = 30_000
"""A request's head, or the pause before the next one on a kept connection."""

HEAD_BYTES_MAX = 64 * 1024
"""A request's head, and what is read ahead of a body."""

# Granian's own logger goes to ours; at its default level it would announce each start twice.
LOGGING = {"handlers": {}, "formatters": {}, "loggers": {"_granian": {"propagate": True}}}


class OnSocket(Server):
    """Granian's server on a socket that is open already; by itself it opens one."""

    listener: socket.socket

    def _init_shared_socket(self) -> None:
        self._shd = SocketHolder(self.listener.fileno(), False, BACKLOG)  # type: ignore[call-arg, assignment]
        self._ssp = None


def serve(settings: Settings) -> None:
    """Serve until a signal, then end the process. Raises PortInUse, or HeadraceError when the server ends by itself."""
    listener = listen(settings.ingress_host, settings.ingress_port, BACKLOG, share=settings.ingress_share_port)
    tracing.configure("ingress")
    asyncio.run(_serve(settings, listener))
    tracing.close()
    os._exit(0)  # everything is closed; the interpreter would still wait for a thread that waits for a dead dependency


async def _serve(settings: Settings, listener: socket.socket) -> None:
    edge = Edge(settings, Producer.of(settings))
    server = _server(App(edge), settings, listener)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gc.collect()
    gc.freeze()  # what is loaded now stays; the collector need not look at it again
    serving = asyncio.create_task(server.serve())
    log.info("listening", host=settings.ingress_host, port=settings.ingress_port)
    opening = asyncio.create_task(_open(edge, settings, listener))
    stopped = asyncio.create_task(stopping.wait())
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.is_set():
        raise HeadraceError("the HTTP server ended by itself; the log says why") from serving.exception()
    opening.cancel()
    left = await _leave(edge, settings)
    log.info("draining")
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait((serving,), timeout=settings.drain_seconds - left)
    if not serving.done():
        log.warning("requests cut off", reason=f"not answered within {settings.drain_seconds} s of the signal")
    await asyncio.wait((asyncio.create_task(edge.close()),), timeout=1)
    log.info("stopped")


async def _open(edge: Edge, settings: Settings, listener: socket.socket) -> None:
    """Say that it is ready, having asked its servers, which also opens the connections to them."""
    if missing := await edge.readiness.missing():
        log.warning("open without its servers", missing=missing)
    if settings.ingress_share_port:
        take_over(listener)
    _say_ready(settings)


def _say_ready(settings: Settings) -> None:
    if settings.ready_file:
        Path(settings.ready_file).touch()


async def _leave(edge: Edge, settings: Settings) -> float:
    """Until no client is connected, or the time is up; how many seconds that took."""
    edge.leaving = True
    started = asyncio.get_running_loop().time()
    seconds = min(settings.ingress_leave_seconds, settings.drain_seconds / 2)
    spent = 0.0
    # In a thread: of thousands of connections it takes tenths of a second, and requests are still answered.
    while spent < seconds and await asyncio.to_thread(has_clients, settings.ingress_port):
        await asyncio.sleep(LEAVE_LOOK_SECONDS)
        spent = asyncio.get_running_loop().time() - started
    return spent


def _server(app: App, settings: Settings, listener: socket.socket) -> Server:
    server = OnSocket(
        app,
        address=settings.ingress_host,
        port=settings.ingress_port,
        interface=Interfaces.ASGINL,
        http=HTTPModes.http1,  # what load balancers speak to their backends; nothing here needs more
        websockets=False,
        backlog=BACKLOG,
        backpressure=_connections(),
        http1_settings=HTTP1Settings(header_read_timeout=HEADER_MS_MAX, max_buffer_size=HEAD_BYTES_MAX),
        log_level=LogLevels.error,
        log_dictconfig=LOGGING,
    )
    server.listener = listener
    return server


def _connections() -> int:
    """As many as the limit on open files allows, raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(CONNECTIONS_MAX, soft - OTHER_FILES))
