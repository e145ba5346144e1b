"""A proxy before PostgreSQL that swallows the answer to a COMMIT and breaks the connection: done, and nobody was told."""

import asyncio
from contextlib import suppress

from tests.tcp_proxy import TcpProxy


class CommitCutter(TcpProxy):
    """Forwards all but the answers to some of the commits.

    ``cut_every`` and ``cuts_max`` are set by the test: of every so many commits one is cut, until there were so many cuts.
    """

    cut_every = 1
    cuts_max = 0
    commits = cuts = 0

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        far_reader, far_writer = await self._reach_target()
        self._writers |= {writer, far_writer}
        doomed = asyncio.Event()
        await asyncio.gather(self._ask(reader, far_writer, doomed), self._answer(far_reader, writer, far_writer, doomed))
        self._writers -= {writer, far_writer}

    async def _ask(self, reader: asyncio.StreamReader, far: asyncio.StreamWriter, doomed: asyncio.Event) -> None:
        with suppress(OSError):
            while data := await reader.read(65536):
                if b"COMMIT\0" in data and self._is_due():
                    doomed.set()
                far.write(data)
                await far.drain()
        far.close()

    async def _answer(
        self, far: asyncio.StreamReader, writer: asyncio.StreamWriter, far_writer: asyncio.StreamWriter, doomed: asyncio.Event
    ) -> None:
        with suppress(OSError):
            while data := await far.read(65536):
                if doomed.is_set():  # the client is silent until it is answered, so this is the commit's answer
                    self.cuts += 1
                    writer.transport.abort()
                    far_writer.transport.abort()
                    return
                writer.write(data)
                await writer.drain()
        writer.close()

    def _is_due(self) -> bool:
        if self.cuts >= self.cuts_max:
            return False
        self.commits += 1
        return self.commits % self.cut_every == 0
