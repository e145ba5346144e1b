"""The thread that hears of changes: one a process, with a connection of its own to the cache's Redis.

Messages are heard within a millisecond or so of being sent. A connection that ends, or that is silent although it was asked for a
sign of life, has missed messages: all copies become doubtful (`Copies.doubt`) once the next one listens, so nothing that was
changed meanwhile serves from a process any more. Once a second it also hands the counts to Prometheus and the uses to Redis.
"""

import logging
import threading
from collections.abc import Callable
from random import random
from typing import Any

from shared.cache import keys
from shared.cache.change import Change, decode
from shared.cache.client import ERRORS
from shared.cache.redis import Remote
from shared.clock import monotonic_seconds
from shared.retry import backoff_seconds

# The standard library's logger: a command line, which configures none, shows no more than warnings, on stderr.
log = logging.getLogger(__name__)

LOOK_SECONDS = 1.0
"""Between two flushes, and how long the thread may go on after it was told to end."""
PING_SECONDS = 3.0
SILENCE_SECONDS_MAX = 8.0
"""Two signs of life missed: the link is half open."""
RETRY_SECONDS_FIRST, RETRY_SECONDS_MAX = 0.1, 2.0


class SilentLink(ConnectionError):
    """The server was asked for a sign of life and gave none. The listener connects anew."""


class Listener:
    """See the module.

    Args:
        remote: where changes are told.
        heard: called with each change.
        doubt: called when changes may have been missed.
        flush: called about once a second, whatever the connection does.
    """

    def __init__(
        self, remote: Remote, heard: Callable[[Change], None], doubt: Callable[[], None], flush: Callable[[], None]
    ) -> None:
        self._remote, self._heard, self._doubt, self._flush = remote, heard, doubt, flush
        self._stop = threading.Event()
        self.listening = threading.Event()
        """Set while changes are heard."""
        self._thread = threading.Thread(target=self._run, name="cache-changes", daemon=True)
        self._thread.start()

    def close(self) -> None:
        """Let the thread end; it does within a second, and nobody waits for it."""
        self._stop.set()

    def _run(self) -> None:
        failures = 0
        while not self._stop.is_set():
            try:
                self._listen()
                return
            except Exception as error:
                if not isinstance(error, ERRORS):
                    log.exception("hearing of changes failed")
                if self.listening.is_set():
                    failures = 0
                    log.info("not told of changes any more, connecting anew: %s", type(error).__name__)
                self.listening.clear()
                failures += 1
                self._flush()
                pause = backoff_seconds(failures, first=RETRY_SECONDS_FIRST, most=RETRY_SECONDS_MAX)
                self._stop.wait(pause * (0.5 + random() / 2))  # noqa: S311 - processes should not come back in step

    def _listen(self) -> None:
        client: Any = self._remote.open()  # its own: closed by this thread alone, whatever becomes of the process's
        pubsub = client.pubsub()
        try:
            pubsub.subscribe(keys.CHANGED)
            heard_at = pinged_at = flushed_at = monotonic_seconds()
            while not self._stop.is_set():
                message = pubsub.get_message(timeout=LOOK_SECONDS)
                now = monotonic_seconds()
                if message is not None:
                    heard_at = now
                    self._take(message)
                if now - flushed_at >= LOOK_SECONDS:
                    flushed_at = now
                    self._flush()
                if now - pinged_at >= PING_SECONDS:
                    pinged_at = now
                    pubsub.ping()
                if now - heard_at > SILENCE_SECONDS_MAX:
                    raise SilentLink
        finally:
            pubsub.close()
            client.close()

    def _take(self, message: Any) -> None:
        if message["type"] == "subscribe":
            self._doubt()
            self._remote.breaker.succeeded()
            self.listening.set()
            log.info("told of changes")
        elif message["type"] == "message" and (change := decode(message["data"])) is not None:
            self._heard(change)
