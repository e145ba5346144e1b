"""The Lua scripts: read once from `scripts/`, called by their SHA-1, sent whole when the server does not know them.

They name no ``KEYS``: there is no Redis Cluster transport in kombu, and most of the keys follow from a token. They carry no
``#!lua`` header, which Redis 6.2 does not know and with which 7.0 refuses a script outright when memory is full.
"""

from hashlib import sha1
from importlib.resources import files
from typing import Any, NamedTuple

import redis
from redis.exceptions import NoScriptError, ResponseError

from shared.broker.keys import LUA_NAMES

_FOLDER = files("shared.broker") / "scripts"
_PRELUDE = LUA_NAMES + (_FOLDER / "prelude.lua").read_text()


def refused(error: ResponseError) -> redis.ConnectionError:
    """What a script's refusal means to a caller: this server cannot be worked with now (read-only after a failover, its disk is
    full), so begin anew. A connection error is what Celery retries; any other ends the worker."""
    return redis.ConnectionError(f"the broker refused a command: {error}")


class Script(NamedTuple):
    """A script's text and the name by which a server knows it once it has run."""

    text: str
    sha: str

    def by_name(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The command that runs it on a server that has run it before."""
        return ("EVALSHA", self.sha, 0, *arguments)

    def whole(self, arguments: tuple[Any, ...]) -> tuple[Any, ...]:
        """The command that runs it on any server, which knows it from then on."""
        return ("EVAL", self.text, 0, *arguments)

    def run(self, client: "redis.Redis", arguments: tuple[Any, ...]) -> Any:
        """Run it and wait; a server that restarted or took over is taught it. Raises redis.ConnectionError."""
        try:
            try:
                return client.execute_command(*self.by_name(arguments))  # type: ignore[no-untyped-call]
            except NoScriptError:
                return client.execute_command(*self.whole(arguments))  # type: ignore[no-untyped-call]
        except ResponseError as error:
            raise refused(error) from error


def teach(client: "redis.Redis") -> None:
    """Make every script known to the server, so that calls whose answers nobody waits for do not meet one that knows none."""
    pipeline = client.pipeline(transaction=False)
    for each in (CLAIM, ACK, GIVE_BACK, JOIN, LEAVE, RENEW, REAP, DELAY, PROMOTE, FORWARD, MARK_ALONE, PAUSE):
        pipeline.script_load(each.text)
    pipeline.execute()


def _load(name: str) -> Script:
    text = _PRELUDE + (_FOLDER / f"{name}.lua").read_text()
    return Script(text, sha1(text.encode()).hexdigest())  # noqa: S324  (it is Redis's name for a script, not a secret)


CLAIM = _load("claim")
ACK = _load("ack")
GIVE_BACK = _load("give_back")
JOIN = _load("join")
LEAVE = _load("leave")
RENEW = _load("renew")
REAP = _load("reap")
DELAY = _load("delay")
PROMOTE = _load("promote")
FORWARD = _load("forward")
MARK_ALONE = _load("mark_alone")
PAUSE = _load("pause")
TICK = _load("tick")
BEGIN_TICK = _load("begin_tick")
