"""A small HTTP server beside a process: ``/metrics`` for Prometheus and ``/livez`` for a probe, from threads of its own."""

import threading
from collections.abc import Callable
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

from shared.errors import ConfigurationError
from shared.metrics import CONTENT_TYPE, exposition

REQUEST_SECONDS_MAX = 10
"""A client slower than this is cut off."""


def serve(host: str, port: int, fault: Callable[[], str], setting: str) -> ThreadingHTTPServer:
    """Serve from now on; the caller ends it by `shutdown` and `server_close`.

    Args:
        host: the address to listen on.
        port: likewise.
        fault: what is wrong with the process, in a few words, or empty while it is alive; must not block.
        setting: the variable that an error names as the mend.

    Raises ConfigurationError when it cannot listen there.
    """
    try:
        server = ThreadingHTTPServer((host, port), _handler(fault))
    except OSError as error:
        raise ConfigurationError(f"cannot listen on {host}:{port}: {error.strerror}; set {setting}") from None
    server.daemon_threads = True
    threading.Thread(target=server.serve_forever, name="scrape", daemon=True).start()
    return server


def _handler(fault: Callable[[], str]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        timeout = REQUEST_SECONDS_MAX

        def do_GET(self) -> None:
            path = self.path.partition("?")[0]
            if path == "/metrics":
                self._answer(HTTPStatus.OK, exposition(), CONTENT_TYPE)
            elif path == "/livez":
                wrong = fault()
                status = HTTPStatus.SERVICE_UNAVAILABLE if wrong else HTTPStatus.OK
                self._answer(status, f"{wrong or 'ok'}\n".encode(), "text/plain")
            else:
                self._answer(HTTPStatus.NOT_FOUND, b"see /metrics and /livez\n", "text/plain")

        def _answer(self, status: HTTPStatus, body: bytes, content_type: str) -> None:
            self.send_response(status)
            self.send_header("Content-Type", content_type)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *args: object) -> None:
            """A scrape is no event."""

    return Handler
