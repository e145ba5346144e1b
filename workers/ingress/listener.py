"""The listening socket, which two ingresses may share while one takes over from the other without a refused connection.

Sockets with SO_REUSEPORT on one port form a group, among which the kernel spreads new connections by a hash. The one that takes
over gives the group a program that chooses itself always: from then on the other gets no new connection, and closes its
socket later with an empty queue. Without that, what stood in the queue of a socket that is closed would be reset
(net.ipv4.tcp_migrate_req is off by default).
"""

import ctypes
import errno
import socket
import struct
import sys

import psutil

from shared.log import get_logger
from workers.local.ports import PortInUse, is_free

log = get_logger(__name__)

SO_ATTACH_REUSEPORT_CBPF = 51
"""Linux 4.5; Python has no name for it."""

BPF_RETURN = 0x06
"""`BPF_RET | BPF_K`: return a constant, the number of the socket in its group."""

THE_SECOND = 1
"""The group is in the order of listening. With one member left there is no second, and the kernel falls back to the hash."""


def listen(host: str, port: int, backlog: int, *, share: bool) -> socket.socket:
    """A listening socket.

    Args:
        host: an address.
        backlog: connections that the kernel holds while none can be accepted.
        share: another ingress of the same user may listen there; else that is refused.

    Raises PortInUse.
    """
    in_use = PortInUse(f"{host}:{port} is in use; stop what listens there or set HEADRACE_INGRESS_PORT")
    if not share and not is_free(port, host):
        raise in_use
    it = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    try:
        it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        it.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        it.bind((host, port))
        it.listen(backlog)
        it.setblocking(False)
    except OSError as error:
        it.close()
        if error.errno == errno.EADDRINUSE:
            raise in_use from None
        raise PortInUse(f"cannot listen on {host}:{port}: {error.strerror}; set HEADRACE_INGRESS_HOST or _PORT") from None
    return it


def take_over(listener: socket.socket) -> None:
    """Have all new connections of the port come here, when another listens there too and was first."""
    if not sys.platform.startswith("linux"):
        return
    instruction = ctypes.create_string_buffer(struct.pack("HBBI", BPF_RETURN, 0, 0, THE_SECOND))
    program = struct.pack("HxxxxxxP", 1, ctypes.addressof(instruction))
    try:
        listener.setsockopt(socket.SOL_SOCKET, SO_ATTACH_REUSEPORT_CBPF, program)
    except OSError as error:  # an old kernel or a sandbox: the kernel spreads by its hash, and a hand-over may reset a connection
        log.warning("new connections cannot be steered", reason=error.strerror)


def has_clients(port: int) -> bool:
    """Whether a client's connection to ``port`` is open in this process."""
    return any(
        each.status == psutil.CONN_ESTABLISHED and each.laddr.port == port for each in psutil.Process().net_connections("tcp")
    )
