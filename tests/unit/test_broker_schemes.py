"""Which broker URLs the transport serves."""

import kombu

from shared.broker.transport import SentinelTransport, Transport, install


def test_every_scheme_of_redis_is_served() -> None:
    install()
    for scheme, transport in {"redis": Transport, "rediss": Transport, "sentinel": SentinelTransport}.items():
        assert kombu.Connection(f"{scheme}://localhost").get_transport_cls() is transport
    assert kombu.Connection("rediss://localhost").ssl, "TLS is kombu's to read from the scheme"
