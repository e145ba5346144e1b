"""`headrace ingress` as a process: what its 202 is worth when the broker, the database, a client or the process itself goes."""

import http.client
import json
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pytest
import redis

from tests.conftest import RunningStack
from tests.foreground import foreground
from tests.running_ingress import Ingress, Reply, running
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

StartIngress = Callable[..., Ingress]


@pytest.fixture
def start(clean: RunningStack) -> Iterator[StartIngress]:
    """Starts an ingress; ended with the test."""
    with ExitStack() as started:
        yield lambda **environment: started.enter_context(running({**clean.environment, **environment}))


@pytest.fixture
def broker_link(clean: RunningStack) -> Iterator[tuple[TcpProxy, str]]:
    """A link to the broker that can be cut, and its URL."""
    parts = urlsplit(clean.broker_url)
    with TcpProxy.running((parts.hostname or "", parts.port or 0)) as proxy:
        yield proxy, f"redis://:{parts.password}@127.0.0.1:{proxy.port}/0"


@pytest.fixture
def database_link(clean: RunningStack) -> Iterator[tuple[TcpProxy, str]]:
    """A link to the database that can be cut, and its URL."""
    known = psycopg.conninfo.conninfo_to_dict(clean.database_url)
    target = Path(str(known["host"])) / f".s.PGSQL.{known.get('port', 5432)}"
    with TcpProxy.running(target) as proxy:
        url = f"postgresql://{known['user']}:{known['password']}@127.0.0.1:{proxy.port}/{known['dbname']}?sslmode=disable"
        yield proxy, url


def waiting(broker: redis.Redis, kind: str) -> list[dict[str, Any]]:
    """What waits in the lanes of a kind of queue."""
    lanes = list(broker.scan_iter(f"{kind}.[0-9]*", _type="list"))
    return [json.loads(payload) for lane in lanes for payload in broker.lrange(lane, 0, -1)]


def test_a_202_is_in_the_queue_and_the_process_says_it_is_ready(start: StartIngress, broker: redis.Redis) -> None:
    ingress = start()
    assert ingress.ready().status == 200
    assert (ingress.webhook("m-1").status, len(waiting(broker, "webhooks"))) == (202, 1)
    assert (ingress.message("m-1").status, len(waiting(broker, "messages"))) == (202, 1)


@pytest.mark.parametrize("way_down", ["cut", "stall"])
def test_without_its_broker_it_answers_503_and_by_itself_202_again(
    start: StartIngress, broker: redis.Redis, broker_link: tuple[TcpProxy, str], way_down: str
) -> None:
    proxy, url = broker_link
    ingress = start(HEADRACE_BROKER_URL=url, HEADRACE_BROKER_TIMEOUT_SECONDS="1")
    assert ingress.webhook("before").status == 202
    getattr(proxy, way_down)()
    for number in range(5):
        reply = ingress.webhook(f"during-{number}")
        assert (reply.status, reply.retry_after) == (503, "1")
    assert b"broker" in ingress.ready().body
    assert ingress.request("GET", "/livez").status == 200
    started = time.monotonic()
    proxy.start() if way_down == "cut" else proxy.flow()
    eventually("it takes webhooks again", lambda: ingress.webhook("after").status == 202)
    assert time.monotonic() - started < 15
    assert ingress.ready().status == 200
    texts = [it["body"] for it in waiting(broker, "webhooks")]
    assert any("before" in text for text in texts)
    assert any("after" in text for text in texts)


def test_a_full_broker_is_a_503_and_the_log_quotes_no_message(start: StartIngress, broker: redis.Redis) -> None:
    ingress = start()
    memory = broker.config_get("maxmemory")["maxmemory"]
    broker.config_set("maxmemory", 1)
    try:
        reply = ingress.webhook("secret-text")
        assert (reply.status, reply.retry_after) == (503, "1")
    finally:
        broker.config_set("maxmemory", memory)
    assert ingress.webhook("after").status == 202
    assert "it is full" in ingress.process.log
    assert "secret-text" not in ingress.process.log
    assert "LPUSH" not in ingress.process.log  # the driver quotes the command


def test_without_its_database_it_serves_whom_it_knows_and_tells_nobody_that_he_does_not_exist(
    start: StartIngress, broker: redis.Redis, database_link: tuple[TcpProxy, str]
) -> None:
    proxy, url = database_link
    ingress = start(HEADRACE_DATABASE_URL=url, HEADRACE_LOOKUP_SECONDS="0")
    assert (ingress.webhook("m-1").status, ingress.message("m-1").status) == (202, 202)
    proxy.cut()
    assert (ingress.webhook("m-2").status, ingress.message("m-2").status) == (202, 202)
    stranger = ingress._replace(channel=ingress.channel._replace(id="01a20fd5-59c1-74b5-946d-d84df3648236"), api_key="hr_x")
    for reply in (stranger.webhook("m-3"), stranger.message("m-3"), ingress.request("GET", "/v1/stats", None, _bearer(ingress))):
        assert (reply.status, reply.retry_after) == (503, "1")
    assert json.loads(ingress.ready().body)["missing"] == ["database"]
    proxy.start()
    eventually("strangers are told", lambda: (stranger.webhook("m").status, stranger.message("m").status) == (404, 401))
    assert len(waiting(broker, "webhooks")) == 2


def _bearer(ingress: Ingress) -> dict[str, str]:
    return {"Authorization": f"Bearer {ingress.api_key}"}


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_whatever_ends_it_under_load_every_202_is_in_the_queue(
    start: StartIngress, broker: redis.Redis, how: signal.Signals
) -> None:
    ingress = start()
    accepted: list[str] = []

    def post() -> None:
        with suppress(OSError, http.client.HTTPException):  # it is gone: nothing was promised
            while (reply := ingress.webhook("m")).status == 202:
                accepted.append(json.loads(reply.body)["id"])

    senders = [threading.Thread(target=post) for _ in range(8)]
    for sender in senders:
        sender.start()
    eventually("some are taken", lambda: len(accepted) > 200, within=60)
    ingress.process.process.send_signal(how)
    for sender in senders:
        sender.join(30)
    code = ingress.process.process.wait(10)
    assert code == (0 if how == signal.SIGTERM else -signal.SIGKILL), ingress.process.log
    assert set(accepted) <= {it["headers"]["id"] for it in waiting(broker, "webhooks")}


def test_what_waits_for_the_broker_when_it_is_told_to_end_is_still_answered(
    start: StartIngress, broker: redis.Redis, broker_link: tuple[TcpProxy, str]
) -> None:
    proxy, url = broker_link
    ingress = start(HEADRACE_BROKER_URL=url)
    assert ingress.webhook("before").status == 202
    proxy.stall()
    replies: list[Reply] = []
    sender = threading.Thread(target=lambda: replies.append(ingress.webhook("during")))
    sender.start()
    eventually("the request is under way", lambda: ingress.open_connections() == 1)
    ingress.process.process.terminate()
    eventually("it drains", lambda: "draining" in ingress.process.log)
    proxy.flow()
    sender.join(10)
    assert [reply.status for reply in replies] == [202]
    assert ingress.process.process.wait(5) == 0
    assert len(waiting(broker, "webhooks")) == 2


def test_a_dependency_that_hangs_does_not_hold_up_the_end(
    start: StartIngress, broker_link: tuple[TcpProxy, str], database_link: tuple[TcpProxy, str]
) -> None:
    links = {"HEADRACE_BROKER_URL": broker_link[1], "HEADRACE_DATABASE_URL": database_link[1]}
    ingress = start(HEADRACE_BROKER_TIMEOUT_SECONDS="30", HEADRACE_DRAIN_SECONDS="1", HEADRACE_LOOKUP_SECONDS="0", **links)
    assert ingress.webhook("before").status == 202
    broker_link[0].stall()
    database_link[0].stall()
    sender = threading.Thread(target=_post_and_be_cut_off, args=(ingress,))
    sender.start()
    eventually("the request is under way", lambda: ingress.open_connections() == 1)
    assert ingress.process.stop(within=6) == 0
    sender.join(10)


def _post_and_be_cut_off(ingress: Ingress) -> None:
    with suppress(OSError, http.client.HTTPException):
        ingress.webhook("during")


def test_a_client_that_never_finishes_holds_up_neither_others_nor_the_end(start: StartIngress) -> None:
    ingress = start(HEADRACE_DRAIN_SECONDS="1")
    slow = [socket.create_connection(("127.0.0.1", ingress.port)) for _ in range(50)]
    try:
        for number, client in enumerate(slow):
            head = f"POST /v1/webhooks/{ingress.channel.id} HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\nabc"
            client.sendall(head.encode()[: None if number % 2 else 30])
        assert ingress.webhook("m").status == 202
        assert ingress.process.stop(within=8) == 0
    finally:
        for client in slow:
            client.close()


def test_a_client_that_sends_everything_before_it_listens_hears_why_it_was_refused(start: StartIngress) -> None:
    ingress = start()
    large = b"x" * (9 * 2**20)
    for path, body, status in (
        (f"/v1/webhooks/{ingress.channel.id}", large, 413),
        ("/v1/messages", large, 413),
        ("/v1/messages", large[: 2**20], 401),
        ("/v1/webhooks/unknown", large[: 2**20], 404),
        ("/v1/unknown", large[: 2**20], 404),
    ):
        assert ingress.request("POST", path, body).status == status


def test_bytes_that_are_no_http_are_answered_or_cut_and_harm_nobody(start: StartIngress) -> None:
    ingress = start()
    for garbage in (
        b"\x00" * 100,
        b"GET / HTTP/9.9\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: x\r\n\r\n",
        b"PRI * HTTP/2.0\r\n\r\n",
        b"GET / HTTP/1.1\r\nX: " + b"x" * 200_000 + b"\r\n\r\n",
    ):
        with socket.create_connection(("127.0.0.1", ingress.port), timeout=10) as client:
            try:
                client.sendall(garbage)
                answer = client.recv(1000)
            except OSError:
                answer = b""
            assert answer == b"" or answer.startswith(b"HTTP/1.1 4")
    assert ingress.webhook("m").status == 202
    assert "Traceback" not in ingress.process.log


def test_a_port_in_use_is_one_clear_line(start: StartIngress, clean: RunningStack) -> None:
    ingress = start()
    with foreground("ingress", {**clean.environment, "HEADRACE_INGRESS_PORT": str(ingress.port)}) as second:
        assert second.process.wait(20) == 1
        assert second.log.splitlines() == [
            f"headrace: 127.0.0.1:{ingress.port} is in use; stop what listens there or set HEADRACE_INGRESS_PORT"
        ]
