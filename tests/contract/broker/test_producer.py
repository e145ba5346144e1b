"""Producing on real servers: what is confirmed, in which order, and what an error means."""

import json
import os
import threading
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import quote

import pytest
import redis

from shared.broker import keys
from shared.errors import BrokerUnavailable, ConfigurationError
from shared.producer import WRITE_MESSAGES_MAX, Item, Producer
from shared.topology import STORE_MESSAGES, lane_of, lane_queue
from tests.redis_server import RedisServer, binaries
from tests.tcp_proxy import TcpProxy

pytestmark = binaries

OWN = "audits.keep"


@pytest.fixture
def producer(server: RedisServer, client: redis.Redis) -> Iterator[Producer]:
    it = Producer(server.url, own_queues=["audits"], timeout=2)
    yield it
    it.close()


@pytest.fixture
def link(server: RedisServer, client: redis.Redis) -> Iterator[tuple[TcpProxy, Producer]]:
    """A producer behind a proxy."""
    with TcpProxy.running(("127.0.0.1", server.port)) as between:
        it = Producer(f"redis://127.0.0.1:{between.port}/0", own_queues=["audits"], timeout=0.5)
        yield between, it
        it.close()


def arguments(client: redis.Redis, queue: str = "audits") -> list[object]:
    """The arguments that wait in ``queue``, oldest first."""
    waiting = [json.loads(payload) for payload in reversed(client.lrange(queue, 0, -1))]
    return [json.loads(each["body"])[0][0] for each in waiting]


def own(count: int) -> list[Item]:
    return [Item(number) for number in range(count)]


def test_a_message_goes_to_the_queue_of_its_task_and_its_id_is_told(producer: Producer, client: redis.Redis) -> None:
    task_id = producer.enqueue(OWN, {"text": 'ü \u2028 "'})
    assert arguments(client) == [{"text": 'ü \u2028 "'}]
    assert json.loads(client.lindex("audits", 0))["headers"]["id"] == task_id


def test_each_conversation_is_in_its_lane_in_order_across_writes(producer: Producer, client: redis.Redis) -> None:
    count = 2 * WRITE_MESSAGES_MAX + 500
    items = [Item({"n": number}, f"account-{number % 3}", f"c-{number % 7}") for number in range(count)]
    assert producer.enqueue_many(STORE_MESSAGES, items) == count
    for account, conversation in {(item.account_id, item.order_key) for item in items}:
        lane = lane_queue("messages", lane_of(account, conversation))
        mine = [item.argument["n"] for item in items if (item.account_id, item.order_key) == (account, conversation)]
        assert [it["n"] for it in arguments(client, lane) if it["n"] in set(mine)] == mine  # type: ignore[index]


def test_a_generator_is_read_one_write_at_a_time(producer: Producer, client: redis.Redis) -> None:
    confirmed = []

    def items() -> Iterator[Item]:
        for number in range(3 * WRITE_MESSAGES_MAX):
            if number % WRITE_MESSAGES_MAX == 1:
                confirmed.append(client.llen("audits"))
            yield Item(number)

    producer.enqueue_many(OWN, items())
    assert confirmed == [0, WRITE_MESSAGES_MAX, 2 * WRITE_MESSAGES_MAX]


def test_a_write_is_bounded_in_bytes_and_takes_one_message_however_large(producer: Producer, client: redis.Redis) -> None:
    client.config_resetstat()
    producer.enqueue_many(OWN, [Item("x" * 5_000_000), Item("y" * 5_000_000), Item("z" * 9_000_000), Item("s")])
    assert client.info("commandstats")["cmdstat_lpush"]["calls"] == 4
    assert [str(it)[:1] for it in arguments(client)] == ["x", "y", "z", "s"]


def test_ids_differ_within_a_call_and_between_calls(producer: Producer, client: redis.Redis) -> None:
    for _ in range(3):
        producer.enqueue_many(OWN, own(100))
    ids = {json.loads(payload)["headers"]["id"] for payload in client.lrange("audits", 0, -1)}
    assert len(ids) == 300
    assert {len(each) for each in ids} == {36}


def test_an_idle_worker_is_told(producer: Producer, client: redis.Redis) -> None:
    with client.pubsub(ignore_subscribe_messages=True) as listener:
        listener.subscribe(keys.WAKE)
        listener.get_message(timeout=2)
        producer.enqueue(OWN, 1)
        heard = listener.get_message(timeout=2) or listener.get_message(timeout=2)
        assert heard
        assert heard["data"] == b"audits"


def test_a_delay_is_told_by_the_brokers_clock(producer: Producer, client: redis.Redis, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("shared.producer.wall_seconds", lambda: 0.0)
    before = client.time()[0]
    producer.enqueue(OWN, 1, delay=3600)
    from shared.broker.envelope import decode, due_ms

    due = due_ms(decode(client.lindex("audits", 0))) or 0
    assert before + 3600 <= due / 1000 <= client.time()[0] + 3601


def test_a_full_broker_is_an_error_that_quotes_no_message_and_takes_nothing(producer: Producer, client: redis.Redis) -> None:
    client.config_set("maxmemory", "1")
    try:
        with pytest.raises(BrokerUnavailable, match=r"it is full; .*maxmemory") as told:
            producer.enqueue_many(STORE_MESSAGES, [Item("secret", "a", f"c-{number}") for number in range(50)])
        assert "secret" not in str(told.value)
        assert "\n" not in str(told.value)
    finally:
        client.config_set("maxmemory", "0")
    assert client.keys("messages*") == []


def test_a_broker_that_is_gone_is_an_error_and_its_return_needs_no_new_producer(
    link: tuple[TcpProxy, Producer], client: redis.Redis
) -> None:
    between, producer = link
    producer.enqueue(OWN, 1)
    between.cut()
    with pytest.raises(BrokerUnavailable, match=r"did not confirm: .*see that it runs, then repeat"):
        producer.enqueue(OWN, 2)
    between.start()
    producer.enqueue(OWN, 3)
    assert arguments(client) == [1, 3]


def test_a_link_that_is_silent_is_an_error_within_the_time_out_and_repeating_queues_it(
    link: tuple[TcpProxy, Producer], client: redis.Redis
) -> None:
    between, producer = link
    producer.enqueue(OWN, 1)
    between.stall()
    with pytest.raises(BrokerUnavailable):
        producer.enqueue(OWN, 2)
    between.flow()
    producer.enqueue(OWN, 2)
    assert set(arguments(client)) == {1, 2}


def test_a_connection_closed_while_idle_is_no_error(producer: Producer, client: redis.Redis) -> None:
    producer.enqueue(OWN, 1)
    client.client_kill_filter(_type="normal", skipme=True)
    producer.enqueue(OWN, 2)
    assert arguments(client) == [1, 2]


def test_threads_share_a_producer_and_each_keeps_its_order(producer: Producer, client: redis.Redis) -> None:
    def send(name: int) -> None:
        for number in range(50):
            producer.enqueue(OWN, [name, number])

    threads = [threading.Thread(target=send, args=(name,)) for name in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    sent: list[list[int]] = arguments(client)  # type: ignore[assignment]
    assert len(sent) == 400
    for name in range(8):
        assert [number for each, number in sent if each == name] == list(range(50))


def test_a_forked_child_has_a_connection_of_its_own(producer: Producer, client: redis.Redis) -> None:
    producer.enqueue(OWN, "before")
    child = os.fork()
    if child == 0:  # pytest's own clean-up must not run twice, hence _exit
        code = 1
        try:
            for number in range(200):
                producer.enqueue(OWN, ["child", number])
            code = 0
        finally:
            os._exit(code)
    for number in range(200):
        producer.enqueue(OWN, ["parent", number])
    assert os.waitpid(child, 0)[1] == 0
    sent: list[list[object]] = arguments(client)[1:]  # type: ignore[assignment]
    for who in ("child", "parent"):
        assert [number for name, number in sent if name == who] == list(range(200))
    assert client.info("clients")["connected_clients"] >= 2


def test_another_number_of_lanes_than_the_fleets_is_refused(server: RedisServer, client: redis.Redis) -> None:
    client.set(keys.LANES, 8)
    with pytest.raises(ConfigurationError, match="set HEADRACE_LANES=8"):
        Producer(server.url).enqueue(STORE_MESSAGES, {}, account_id="a", order_key="c")
    assert Producer(server.url, lanes=8).enqueue(STORE_MESSAGES, {}, account_id="a", order_key="c")


def test_a_task_that_no_queue_belongs_to_is_refused(producer: Producer, client: redis.Redis) -> None:
    with pytest.raises(ConfigurationError, match="add 'audit' to HEADRACE_TASK_QUEUES"):
        producer.enqueue("audit.keep", 1)
    assert client.keys("*") == []


def test_a_task_whose_order_matters_wants_to_know_the_order(producer: Producer, client: redis.Redis) -> None:
    with pytest.raises(TypeError, match="give account_id and order_key"):
        producer.enqueue(STORE_MESSAGES, {}, account_id="a")


def test_a_unix_socket_is_reached_by_kombus_spelling(local_binary: str, tmp_path: Path) -> None:
    from tests.redis_server import running

    path = tmp_path / "redis.sock"
    with running(local_binary, tmp_path, "--unixsocket", str(path)) as local:
        producer = Producer(f"redis+socket://{quote(str(path))}?virtual_host=3", own_queues=["audits"])
        producer.enqueue(OWN, 1)
        producer.close()
        with redis.Redis(port=local.port, db=3) as third:
            assert third.llen("audits") == 1
