"""A client of the cache's Redis: one server, Sentinels, or a Cluster. Each answer has a deadline, and there is no waiting twice.

URLs are `shared.redis_client`'s, and for a Cluster ``cluster://host:7000;cluster://host:7001`` (``clusters://`` with TLS): some
of its nodes, which name the others.
"""

from urllib.parse import unquote, urlsplit

import redis
from redis.backoff import NoBackoff
from redis.cluster import ClusterNode, RedisCluster
from redis.exceptions import RedisClusterException
from redis.retry import Retry

from shared.errors import ConfigurationError
from shared.redis_client import connect

CLUSTER, CLUSTER_TLS = "cluster", "clusters"
CLUSTER_PORT = 6379

ERRORS = (redis.RedisError, RedisClusterException, OSError)
"""What a server that is away, full or not itself raises."""

Client = redis.Redis | RedisCluster


def is_cluster(url: str) -> bool:
    """Whether ``url`` names a Cluster's nodes."""
    return urlsplit(url.partition(";")[0]).scheme in (CLUSTER, CLUSTER_TLS)


def open_client(url: str, *, timeout: float, master: str) -> Client:
    """A client; of a Cluster it has asked which nodes there are, so it raises when none answers.

    Args:
        url: see the module.
        timeout: seconds to connect and to wait for each answer.
        master: what the Sentinels call the server.

    Raises ConfigurationError for another URL; one of ERRORS for a Cluster that is away.
    """
    if is_cluster(url):
        return _cluster(url, timeout)
    client = connect(url, timeout=timeout, master=master)
    # A connection that was closed while idle is worth a second try; an answer that did not come in time is not.
    client.set_retry(Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)))
    return client


def _cluster(url: str, timeout: float) -> RedisCluster:
    parts = [urlsplit(each) for each in url.split(";") if each]
    if any(not each.hostname for each in parts):
        raise ConfigurationError("not a Cluster's URL: write cluster://host:7000;cluster://host:7001")
    first = parts[0]
    return RedisCluster(
        startup_nodes=[ClusterNode(each.hostname, each.port or CLUSTER_PORT) for each in parts],  # type: ignore[no-untyped-call]
        username=unquote(first.username or "") or None,
        password=unquote(first.password or "") or None,
        ssl=first.scheme == CLUSTER_TLS,
        socket_timeout=timeout,
        socket_connect_timeout=timeout,
        retry=Retry(NoBackoff(), 1, supported_errors=(redis.ConnectionError,)),
        require_full_coverage=False,  # the slots that are there serve
    )
