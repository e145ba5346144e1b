"""Redis servers with the configuration and the users that we ship, started on a free port."""

import re
import secrets
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import redis

from tests.deploy.manifest import DEPLOY
from tests.redis_server import DEBIAN, free_port
from tests.waiting import eventually

USERS = ("ingress", "worker", "beat", "exporter", "flower", "producer", "operator", "replica", "sentinel", "cache")
WITNESS = "witness"
"""A user of the tests' own, who reads the log of what was refused."""
PASSWORDS = {name: secrets.token_hex(12) for name in (*USERS, WITNESS)}
ENVIRONMENT = {f"REDIS_{name.upper()}_PASSWORD": password for name, password in PASSWORDS.items()}


def users(kind: str) -> str:
    """The ACL file of a ``broker`` or a ``cache``."""
    command = ["sh", DEPLOY / "redis/users.sh", kind]
    environment = {**ENVIRONMENT, "PATH": "/usr/bin:/bin"}
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=True, timeout=20).stdout


class Shipped:
    """A running server."""

    def __init__(self, port: int, command: list[str]) -> None:
        self.port = port
        self._command = command

    def start(self) -> None:
        """Start it, or start it again."""
        self.process = subprocess.Popen(self._command)  # its log is shown when a test fails
        with self.client("probe") as probe:
            eventually("it is up", lambda: self._answers(probe))

    def _answers(self, probe: redis.Redis) -> bool:
        assert self.process.poll() is None, "redis-server ended"
        with suppress(redis.RedisError):
            return bool(probe.ping())
        return False

    def kill(self) -> None:
        """As a power cut would."""
        self.process.kill()
        self.process.wait()

    def url(self, user: str) -> str:
        """As a process of this role is told it."""
        return f"redis://{user}:{PASSWORDS.get(user, 'x')}@127.0.0.1:{self.port}/0"

    def denied(self) -> list[tuple[str, str, str]]:
        """Who was refused what."""
        with self.client(WITNESS) as client:
            return [(each["username"], each["reason"], each["object"]) for each in client.acl_log()]

    def client(self, user: str) -> redis.Redis:
        """A client with the rights of ``user``."""
        return redis.Redis.from_url(self.url(user), socket_timeout=5, retry=None)


def rendered(name: str, directory: Path, port: int, **changes: str) -> Path:
    """Our configuration file ``name`` with what a test must choose for itself."""
    lines = {"port": str(port), "dir": str(directory), "bind": "127.0.0.1", "aclfile": str(directory / "users.acl"), **changes}
    text = (DEPLOY / "redis" / name).read_text()
    for key, value in lines.items():
        text = re.sub(rf"^{key} .*$", f"{key} {value}", text, flags=re.MULTILINE)
    path = directory / name
    path.write_text(text)
    return path


@contextmanager
def shipped(name: str, directory: Path, *options: str, **changes: str) -> Iterator[Shipped]:
    """A server with our ``name`` (``broker.conf``, ``cache.conf``, ``replica.conf``) for the length of a ``with``."""
    directory.mkdir(exist_ok=True)
    witness = f"user {WITNESS} on >{PASSWORDS[WITNESS]} ~* &* +@all\n"
    (directory / "users.acl").write_text(users("cache" if name == "cache.conf" else "broker") + witness)
    port = free_port()
    server = Shipped(port, [DEBIAN, str(rendered(name, directory, port, **changes)), *options])
    try:
        server.start()
        yield server
    finally:
        server.kill()
