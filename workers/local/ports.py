"""Loopback ports: is one free, and one that is."""

import socket

from shared.errors import HeadraceError


class PortInUse(HeadraceError):
    """Another process listens there. Choose another port, or stop that process."""


def is_free(port: int, host: str = "127.0.0.1") -> bool:
    """True when a server could listen on ``port`` now; connections of an ended server that linger do not count."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            listener.bind((host, port))
        except OSError:
            return False
    return True


def choose(preferred: int) -> int:
    """``preferred`` when it is free, so that URLs stay the same over restarts; else, or for 0, any free loopback port."""
    if preferred and is_free(preferred):
        return preferred
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        port: int = listener.getsockname()[1]
    return port
