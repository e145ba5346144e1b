"""Hosts of a test's own: network namespaces on a bridge, each cut off and brought back as by a cable.

A cut is silent, as between machines: nobody gets a reset, packets are lost, and what was sent is sent again after the cable is
back. Root only, for it makes network devices.
"""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

NETWORK = "198.18"
"""Of RFC 2544, for tests of networks: in nobody's way."""


def _ip(*words: str) -> None:
    subprocess.run(["ip", *words], check=True, capture_output=True, timeout=10)


class Host:
    """One host.

    Args:
        name: of its namespace and of its cable's near end.
        address: its own.
    """

    def __init__(self, name: str, address: str) -> None:
        self.name, self.address = name, address

    def command(self, *words: str) -> list[str]:
        """``words`` as a command that runs on this host."""
        return ["ip", "netns", "exec", self.name, *words]

    def cut(self) -> None:
        """Pull the cable."""
        _ip("link", "set", self.name, "down")

    def join(self) -> None:
        """Plug it in again."""
        _ip("link", "set", self.name, "up")


class Network:
    """Hosts, and the address by which they reach what runs outside of them."""

    def __init__(self, bridge: str, address: str, hosts: list[Host]) -> None:
        self.bridge, self.address, self.hosts = bridge, address, hosts


@contextmanager
def network(count: int) -> Iterator[Network]:
    """So many hosts for the length of a ``with``; what runs on them must have been ended before."""
    number = os.getpid()
    bridge, subnet = f"hr{number}", f"{NETWORK}.{number % 250}"
    it = Network(bridge, f"{subnet}.1", [Host(f"hr{number}-{each}", f"{subnet}.{10 + each}") for each in range(count)])
    try:
        _ip("link", "add", bridge, "type", "bridge")
        _ip("addr", "add", f"{it.address}/24", "dev", bridge)
        _ip("link", "set", bridge, "up")
        for host in it.hosts:
            _ip("netns", "add", host.name)
            _ip("link", "add", host.name, "type", "veth", "peer", "name", "eth0", "netns", host.name)
            _ip("link", "set", host.name, "master", bridge)
            _ip("-n", host.name, "addr", "add", f"{host.address}/24", "dev", "eth0")
            for device in ("lo", "eth0"):
                _ip("-n", host.name, "link", "set", device, "up")
            host.join()
        yield it
    finally:
        for host in it.hosts:
            subprocess.run(["ip", "netns", "delete", host.name], check=False, capture_output=True)  # its cable goes with it
        subprocess.run(["ip", "link", "delete", bridge], check=False, capture_output=True)


@cache
def why_not() -> str:
    """Why there can be no hosts here; empty when there can."""
    if os.geteuid() != 0:
        return "only root may make network namespaces"
    if not shutil.which("ip"):
        return "no `ip` on this machine (iproute2)"
    try:
        with network(1) as it:
            subprocess.run(it.hosts[0].command("true"), check=True, capture_output=True, timeout=10)
    except (subprocess.SubprocessError, OSError) as error:
        return f"this machine makes no network namespaces: {getattr(error, 'stderr', error)!r}"
    return ""
