"""A few pages over HTTP from a thread, for probes and scrapes. A silent client is cut off, a request's body is not read."""

import os
import threading
from collections.abc import Callable, Mapping
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, NamedTuple

from shared.errors import ConfigurationError
from shared.log import get_logger

SILENT_SECONDS_MAX = 10
"""A client that sends nothing for so long is cut off."""

log = get_logger(__name__)


class Page(NamedTuple):
    """An answer."""

    body: bytes
    status: HTTPStatus = HTTPStatus.OK
    content_type: str = "text/plain; charset=utf-8"


def verdict(fault: str) -> Page:
    """A probe's answer: 200, or 503 with the reason."""
    return Page(f"{fault}\n".encode(), HTTPStatus.SERVICE_UNAVAILABLE) if fault else Page(b"ok\n")


class Pages:
    """Serves from construction on.

    Args:
        host: address to listen on.
        port: to listen on.
        pages: path -> what makes its page, called in a thread for each request; it must not block.
        setting: names the port in an error.

    Raises ConfigurationError when it cannot listen there.
    """

    def __init__(self, host: str, port: int, pages: Mapping[str, Callable[[], Page]], setting: str) -> None:
        self._forking = threading.Lock()
        try:
            self._server = _Server((host, port), _handler(pages, self._forking))
        except OSError as error:
            raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; set {setting}") from None
        # A page may hold a lock of the metrics; a child forked at that moment would inherit it locked for ever.
        os.register_at_fork(
            before=self._forking.acquire, after_in_parent=self._forking.release, after_in_child=self._forking.release
        )
        threading.Thread(target=self._server.serve_forever, name="headrace-pages", daemon=True).start()

    @property
    def port(self) -> int:
        """Where it listens."""
        return int(self._server.server_address[1])

    def drop(self) -> None:
        """In a forked child: let go of the parent's socket."""
        self._server.socket.close()

    def close(self) -> None:
        """Serve no more."""
        self._server.shutdown()
        self._server.server_close()


class _Server(ThreadingHTTPServer):
    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away is no event, and no traceback among the log's lines."""
        log.debug("a client went away")


def _made(path: str, make: Callable[[], Page]) -> Page:
    """The page, or that it could not be made: a probe wants an answer, not a connection that is closed."""
    try:
        return make()
    except Exception:
        log.exception("page failed", path=path)
        return Page(b"it could not be made, the log says why\n", HTTPStatus.INTERNAL_SERVER_ERROR)


def _handler(pages: Mapping[str, Callable[[], Page]], forking: threading.Lock) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = SILENT_SECONDS_MAX

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            make = pages.get(path)
            with forking:
                page = _made(path, make) if make else Page(f"see {' '.join(pages)}\n".encode(), HTTPStatus.NOT_FOUND)
            self.send_response(page.status)
            self.send_header("Content-Type", page.content_type)
            self.send_header("Content-Length", str(len(page.body)))
            self.end_headers()
            self.wfile.write(page.body)

        def log_message(self, *args: object) -> None:
            """A probe is no event."""

    return Handler
