"""Broker URLs as Celery writes them, read into a client."""

import pytest
import redis

from shared.errors import ConfigurationError
from shared.redis_client import connect


def options(url: str) -> dict[str, object]:
    found: dict[str, object] = connect(url, timeout=2).connection_pool.connection_kwargs
    return found


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("redis://:pw@host:7000/2", {"host": "host", "port": 7000, "password": "pw", "db": 2}),
        ("rediss://host/0?ssl_cert_reqs=CERT_NONE", {"host": "host", "ssl_cert_reqs": "none"}),
        ("rediss://host/0?ssl_cert_reqs=required&ssl_ca_certs=/ca.pem", {"ssl_cert_reqs": "required", "ssl_ca_certs": "/ca.pem"}),
        ("redis+socket:///run/redis.sock?virtual_host=3", {"path": "/run/redis.sock", "db": 3}),
        ("redis+socket://u:pw@/run/redis.sock", {"path": "/run/redis.sock", "username": "u", "password": "pw", "db": 0}),
        ("sentinel://:p%40w@a:26379;sentinel://b/4", {"password": "p@w", "db": 0}),
        ("sentinel://a:26379/4;sentinel://b:26380/4", {"db": 4}),
    ],
)
def test_every_kind_of_url_is_read(url: str, expected: dict[str, object]) -> None:
    found = options(url)
    assert {name: found.get(name) for name in expected} == expected
    assert (found["socket_timeout"], found["socket_connect_timeout"]) == (2, 2)


def test_all_sentinels_are_known() -> None:
    pool = connect("sentinel://a:26379;sentinel://b/0", timeout=2, master="ours").connection_pool
    sentinels = [client.connection_pool.connection_kwargs for client in pool.sentinel_manager.sentinels]
    assert [(each["host"], each["port"]) for each in sentinels] == [("a", 26379), ("b", 26379)]
    assert pool.service_name == "ours"


@pytest.mark.parametrize("url", ["amqp://host", "host:6379", "redis://host:x/0", "sentinel://a/x"])
def test_another_url_is_refused_and_not_repeated_for_it_may_hold_a_password(url: str) -> None:
    with pytest.raises(ConfigurationError, match="write redis://"):
        connect(url, timeout=2)


def test_nothing_is_connected_before_it_is_used() -> None:
    client = connect("redis://127.0.0.1:1/0", timeout=0.2)
    with pytest.raises(redis.ConnectionError):
        client.ping()
