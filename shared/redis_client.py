"""A Redis client from a broker's or cache's URL: every answer has a deadline, so that a half-open link is an error, no hang.

The URLs are those that Celery takes: ``redis://``, ``rediss://``, ``redis+socket:///path?virtual_host=0`` and
``sentinel://host:26379;sentinel://host:26379/0``, whose master's name stands in a setting, `broker_master`.
"""

from typing import Any
from urllib.parse import parse_qsl, unquote, urlencode, urlsplit, urlunsplit

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry
from redis.sentinel import Sentinel

from shared.errors import ConfigurationError

MASTER_DEFAULT = "mymaster"
"""The name in Sentinel's own example configuration."""
SENTINEL_PORT = 26379


def connect(url: str, *, timeout: float, master: str = MASTER_DEFAULT) -> redis.Redis:
    """A client of the server at ``url``; replies are bytes. It connects on first use; a forked child gets its own connections.

    Args:
        url: see the module.
        timeout: seconds to connect and to wait for each answer.
        master: what the Sentinels call the server; only for ``sentinel://``.

    Raises ConfigurationError for a URL of another kind.
    """
    # redis-py would repeat ten times by default: a minute on a dead server. Once covers a connection closed while idle.
    options = {"socket_timeout": timeout, "socket_connect_timeout": timeout, "retry": Retry(NoBackoff(), 1)}
    try:
        if is_sentinel(url):
            return _of_master(url.split(";"), master, options)
        return redis.Redis.from_url(_plain(url), **options)
    except ValueError as error:
        raise ConfigurationError(f"not a Redis URL ({str(error).splitlines()[0]}): write redis://host:6379/0") from None


def is_sentinel(url: str) -> bool:
    """Whether ``url`` names Sentinels, which know the master and its replicas."""
    return url.startswith("sentinel://")


def _of_master(urls: list[str], master: str, options: dict[str, Any]) -> redis.Redis:
    """As kombu reads it: user, password and database of the first URL are the master's; the Sentinels have none."""
    parts = [urlsplit(url) for url in urls if url]
    first, database = parts[0], parts[0].path.strip("/")
    sentinels = Sentinel(  # type: ignore[no-untyped-call]
        [(each.hostname or "127.0.0.1", each.port or SENTINEL_PORT) for each in parts],
        sentinel_kwargs={**options, "retry": Retry(NoBackoff(), 0)},  # the next Sentinel is the repetition
    )
    client: redis.Redis = sentinels.master_for(  # type: ignore[no-untyped-call]
        master,
        username=unquote(first.username or "") or None,
        password=unquote(first.password or "") or None,
        db=int(database or 0),
        **options,
    )
    return client


def _plain(url: str) -> str:
    """From kombu's spelling to redis-py's."""
    parts = urlsplit(url.removeprefix("redis+"))
    query = dict(parse_qsl(parts.query))
    if parts.scheme == "socket":
        database = query.pop("virtual_host", "0").strip("/")
        return f"unix://{parts.netloc}{parts.path}?{urlencode({**query, 'db': database})}"
    if "ssl_cert_reqs" in query:
        query["ssl_cert_reqs"] = query["ssl_cert_reqs"].lower().removeprefix("cert_")
        return urlunsplit(parts._replace(query=urlencode(query)))
    return url
