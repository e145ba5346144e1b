"""`headrace ingress` as a process, with an account and a channel that it knows, and requests to it."""

import http.client
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from shared.db.session import transact
from shared.store import accounts, channels
from tests import signing
from tests.factory import as_json
from tests.foreground import Foreground, foreground
from tests.waiting import eventually
from workers.local.ports import choose


class Reply(NamedTuple):
    """What of an answer the tests look at."""

    status: int
    body: bytes
    retry_after: str | None


class Ingress(NamedTuple):
    """A running ingress and who it knows."""

    process: Foreground
    port: int
    api_key: str
    channel: channels.NewChannel

    def request(self, method: str, path: str, body: bytes | None = None, headers: dict[str, str] | None = None) -> Reply:
        """One request on a connection of its own."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)
        try:
            connection.request(method, path, body, headers or {})
            answer = connection.getresponse()
            return Reply(answer.status, answer.read(), answer.getheader("retry-after"))
        finally:
            connection.close()

    def webhook(self, name: str, conversation: str = "c-1") -> Reply:
        """A signed webhook that holds the message ``name``."""
        body = json.dumps({"type": "message.created", "data": as_json(name, conversation)}).encode()
        return self.request("POST", f"/v1/webhooks/{self.channel.id}", body, signing.standard(body, self.channel.secret))

    def message(self, name: str) -> Reply:
        """The message ``name`` by the account's key."""
        headers = {"Authorization": f"Bearer {self.api_key}"}
        return self.request("POST", "/v1/messages", json.dumps(as_json(name)).encode(), headers)

    def ready(self) -> Reply:
        """Its readiness."""
        return self.request("GET", "/readyz")

    def open_connections(self) -> int:
        """Of clients, as the kernel lists them."""
        listed = Path("/proc/net/tcp").read_text(encoding="ascii").splitlines()[1:]
        local, established = f":{self.port:04X}", "01"
        return sum(1 for line in listed if line.split()[1].endswith(local) and line.split()[3] == established)


@contextmanager
def running(environment: Mapping[str, str]) -> Iterator[Ingress]:
    """An ingress on a free port, told its servers by ``environment``; gone at the end."""
    account = transact(lambda session: accounts.create(session, "tenant"))
    channel = transact(lambda session: channels.add(session, account.id, "standard"))
    port = choose(0)
    with foreground("ingress", {"HEADRACE_INGRESS_PORT": str(port), **environment}) as process:
        eventually("it answers", lambda: process.answers(f"http://127.0.0.1:{port}/livez"), within=30)
        yield Ingress(process, port, account.api_key, channel)
