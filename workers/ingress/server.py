"""The process: Granian embedded in our own event loop, one process and one loop, so that a signal or a kill has one address.

SIGTERM or SIGINT: the listener closes, requests under way are answered, then the process ends; at most `drain_seconds`.
"""

import asyncio
import gc
import os
import resource
import signal

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
from workers.local.ports import PortInUse, is_free

log = get_logger(__name__)

CONNECTIONS_MAX = 8_192
"""Open connections; more wait in the kernel's backlog. An idle one costs a few KB."""

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


def serve(settings: Settings) -> None:
    """Serve until a signal, then end the process. Raises PortInUse, or HeadraceError when the server ends by itself."""
    if not is_free(settings.ingress_port, settings.ingress_host):
        raise PortInUse(
            f"{settings.ingress_host}:{settings.ingress_port} is in use; stop what listens there or set HEADRACE_INGRESS_PORT"
        )
    tracing.configure("ingress")
    asyncio.run(_serve(settings))
    tracing.close()
    os._exit(0)  # everything is closed; the interpreter would still wait for a thread that waits for a dead dependency


async def _serve(settings: Settings) -> None:
    edge = Edge(settings, Producer.of(settings))
    server = _server(App(edge), settings)
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    gc.collect()
    gc.freeze()  # what is loaded now stays; the collector need not look at it again
    serving = asyncio.create_task(server.serve())
    stopped = asyncio.create_task(stopping.wait())
    log.info("listening", host=settings.ingress_host, port=settings.ingress_port)
    await asyncio.wait((serving, stopped), return_when=asyncio.FIRST_COMPLETED)
    if not stopping.is_set():
        raise HeadraceError("the HTTP server ended by itself; the log says why") from serving.exception()
    log.info("draining")
    server.stop()  # type: ignore[no-untyped-call]
    await asyncio.wait((serving,), timeout=settings.drain_seconds)
    if not serving.done():
        log.warning("requests cut off", reason=f"not answered within {settings.drain_seconds} s of the signal")
    await asyncio.wait((asyncio.create_task(edge.close()),), timeout=1)
    log.info("stopped")


def _server(app: App, settings: Settings) -> Server:
    return Server(
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


def _connections() -> int:
    """As many as the limit on open files allows, raised as far as it goes."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = CONNECTIONS_MAX + OTHER_FILES
    if soft < wanted:
        soft = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    return max(1, min(CONNECTIONS_MAX, soft - OTHER_FILES))
