"""The embedded Redis servers: the broker, which keeps everything, and the cache, which keeps what fits.

Both listen on loopback TCP, not on a Unix socket, because any stock Celery client takes the URL; a generated password keeps
other local users out. It stands in a configuration file of mode 0600, never on the command line.
"""

import socket
from collections.abc import Mapping
from pathlib import Path

from shared.errors import HeadraceError
from workers.local.binaries import redis_program, redis_version
from workers.local.program import SERVERS, Program
from workers.local.secret import Secret

BROKER_MEMORY_MB = 1024
"""About 500,000 ordinary messages; beyond it publishing is refused (the edge answers 503) and nothing queued is dropped."""

CACHE_MEMORY_MB = 64
"""Channel secrets and conversation heads are under 1 KiB each."""

MULTI_PART_LOG = "appendonlydir"
"""Where Redis 7 keeps its append-only files; Redis 6 does not look there and would start empty."""

COMMON = {
    "bind": "127.0.0.1",
    "protected-mode": "yes",
    "daemonize": "no",
    "databases": "16",
    "save": '""',  # no snapshots: the broker has its append-only log, the cache nothing to keep
    "tcp-keepalive": "30",  # seconds; a client that vanished is noticed within about a minute
    "timeout": "0",  # idle clients stay: workers wait for hours
    "loglevel": "notice",
}

BROKER = {
    "appendonly": "yes",
    "appendfsync": "always",  # a 202 means durable; writes that arrive together share one fsync
    "no-appendfsync-on-rewrite": "no",  # also while the log is being rewritten
    "aof-load-truncated": "yes",  # a torn last write was never confirmed
    "auto-aof-rewrite-percentage": "100",
    "auto-aof-rewrite-min-size": "64mb",
    "maxmemory-policy": "noeviction",  # evicting would lose messages
}

CACHE = {
    "appendonly": "no",
    "maxmemory-policy": "allkeys-lfu",  # keep what is asked for most
    "lazyfree-lazy-eviction": "yes",  # evict without stalling a reader
}


def broker(data_dir: Path, secret: Secret, memory_mb: int = BROKER_MEMORY_MB) -> Program:
    """The broker's server, its directory and configuration prepared. ``memory_mb``: 3 or more."""
    return _server("broker", data_dir, secret, {**BROKER, "maxmemory": f"{memory_mb}mb"})


def cache(data_dir: Path, secret: Secret, memory_mb: int = CACHE_MEMORY_MB) -> Program:
    """The cache's server, prepared likewise."""
    return _server("cache", data_dir, secret, {**CACHE, "maxmemory": f"{memory_mb}mb"})


def url(secret: Secret) -> str:
    """What any Redis or Celery client takes."""
    return f"redis://:{secret.password}@127.0.0.1:{secret.port}/0"


def _server(name: str, data_dir: Path, secret: Secret, settings: Mapping[str, str]) -> Program:
    program = redis_program()
    directory = data_dir / name
    if redis_version(program) < (7, 0) and (directory / MULTI_PART_LOG).exists():
        raise HeadraceError(
            f"{directory} was written by Redis 7 or newer and {program} is older; mend: put that one on PATH again"
        )
    directory.mkdir(mode=0o700, exist_ok=True)
    lines = {**COMMON, **settings, "port": str(secret.port), "requirepass": secret.password, "dir": f'"{directory}"'}
    configuration = directory / "redis.conf"
    configuration.touch(mode=0o600)
    configuration.write_text("".join(f"{key} {value}\n" for key, value in lines.items()))
    return Program(
        name=name,
        command=(str(program), str(configuration)),
        environment={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
        is_ready=lambda: _answers(secret),
        stop_stage=SERVERS,
    )


def _answers(secret: Secret) -> bool:
    # Refused while the server starts, and an error while it still reads its log. By hand: redis-py takes half a second to load.
    try:
        with socket.create_connection(("127.0.0.1", secret.port), timeout=1) as connection:
            connection.sendall(f"AUTH {secret.password}\r\nPING\r\nQUIT\r\n".encode())
            return b"+PONG" in b"".join(iter(lambda: connection.recv(1024), b""))
    except OSError:
        return False
