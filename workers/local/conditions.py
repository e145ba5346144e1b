"""Conditions under which a program counts as ready. Each answers within about a second and never raises."""

from collections.abc import Callable
from http.client import HTTPConnection, HTTPException


def answers_http(port: int, path: str) -> Callable[[], bool]:
    """A GET of ``path`` on this machine is answered with 200."""

    def ask() -> bool:
        connection = HTTPConnection("127.0.0.1", port, timeout=1)
        try:
            connection.request("GET", path)
            return connection.getresponse().status == 200
        except (OSError, HTTPException):
            return False
        finally:
            connection.close()

    return ask


def always() -> bool:
    """It has been started; there is nothing to ask."""
    return True
