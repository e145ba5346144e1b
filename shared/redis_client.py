"""A Redis client for asking: every answer has a deadline, so that a half-open link is an error and not a hang."""

import redis
from redis.backoff import NoBackoff
from redis.retry import Retry


def connect(url: str, *, timeout: float) -> redis.Redis:
    """A client of the server at ``url``; replies are bytes.

    Args:
        url: ``redis://`` or ``rediss://``.
        timeout: seconds to connect and to wait for each answer.
    """
    # redis-py would repeat ten times by default: a minute on a dead server. Once covers a connection closed while idle.
    return redis.Redis.from_url(url, socket_timeout=timeout, socket_connect_timeout=timeout, retry=Retry(NoBackoff(), 1))
