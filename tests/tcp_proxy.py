"""A TCP proxy that a test can cut or stall: an outage of a server that others go on using."""

import asyncio
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path


class TcpProxy:
    """Forwards from a port of its own.

    Args:
        target: ``(host, port)``, or the path of a Unix socket.
        host: the address it listens on.
    """

    def __init__(self, target: tuple[str, int] | Path, host: str = "127.0.0.1") -> None:
        self._target, self._host = target, host
        self.delay_seconds = 0.0
        """How long whatever passes is held back."""
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever)
        self._writers: set[asyncio.StreamWriter] = set()
        self._flowing = _open_way()
        self._abandoned: list[asyncio.Event] = []
        self._server: asyncio.Server | None = None
        self.port = 0

    def start(self) -> None:
        """Listen; the port stays the same after a cut."""
        self._call(self._listen())

    def cut(self) -> None:
        """Refuse new connections and end the open ones."""
        self._call(self._unlisten())

    def stall(self) -> None:
        """Keep everything open and forward nothing."""
        self._loop.call_soon_threadsafe(self._flowing.clear)

    def abandon(self) -> None:
        """Keep what is open open, forward nothing on it any more; what is opened from now on works."""
        self.stall()
        self._abandoned.append(self._flowing)
        self._flowing = _open_way()

    def flow(self) -> None:
        """Forward again."""
        for flowing in (self._flowing, *self._abandoned):
            self._loop.call_soon_threadsafe(flowing.set)

    def _call(self, coroutine: object) -> None:
        asyncio.run_coroutine_threadsafe(coroutine, self._loop).result(10)  # type: ignore[arg-type]

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._serve, self._host, self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _unlisten(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        for writer in self._writers:
            writer.transport.abort()

    async def _finish(self) -> None:
        """Until nobody is served any more."""
        serving = asyncio.all_tasks() - {asyncio.current_task()}
        if serving:
            await asyncio.wait(serving, timeout=5)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._reach_target()
        self._writers |= {writer, far_writer}
        flowing = self._flowing
        await asyncio.gather(self._pump(reader, far_writer, flowing), self._pump(far_reader, writer, flowing))
        self._writers -= {writer, far_writer}

    async def _reach_target(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        if isinstance(self._target, Path):
            return await asyncio.open_unix_connection(self._target)
        return await asyncio.open_connection(*self._target)

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, flowing: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                held = self._loop.create_future()
                self._loop.call_later(self.delay_seconds, held.set_result, None)
                await held
                await flowing.wait()
                writer.write(data)
                await writer.drain()
        writer.close()

    @classmethod
    @contextmanager
    def running(cls, target: tuple[str, int] | Path, host: str = "127.0.0.1") -> "Iterator[TcpProxy]":
        """A started proxy, gone at the end."""
        proxy = cls(target, host)
        proxy._thread.start()
        try:
            proxy.start()
            yield proxy
        finally:
            proxy.flow()
            proxy.cut()
            proxy._call(proxy._finish())
            proxy._loop.call_soon_threadsafe(proxy._loop.stop)
            proxy._thread.join()
            proxy._loop.close()


def _open_way() -> asyncio.Event:
    event = asyncio.Event()
    event.set()
    return event
