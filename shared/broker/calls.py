"""What can be asked of the scripts: each function makes a `Call`, the arguments and how to read the answer.

A call is a value, so that `claims.Claims` runs it and waits, and the transport sends it and reads the answer when it comes.
"""

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Generic, NamedTuple, TypeVar

import redis

from shared.broker import script
from shared.broker.keys import FORMAT_KNOWN
from shared.errors import ConfigurationError, HeadraceError

T = TypeVar("T")

CLAIM_BYTES_MAX = 8 * 2**20
"""Bytes of payload in one claim (always at least one message): bounds a script's time and a worker's memory."""
TOKENS_MAX = 1_000
"""Tokens in one call; Lua's `unpack` fails at 8,000, and Redis serves nobody else while a script runs."""
REAP_MAX = 500
"""Claims that one call gives back: a few milliseconds of the server."""


OF_CLAIMS = (script.ACK, script.GIVE_BACK, script.FORWARD, script.DELAY, script.MARK_ALONE)
"""What is said of named claims. It does nothing when said again, for the claim is then gone, or marked."""


class LeaseLost(HeadraceError, redis.ConnectionError):
    """The consumer's lease ended and its claims went back. Drop what is buffered, join under a new id.

    A connection error to Celery, whose consumer then starts anew.
    """


class Claim(NamedTuple):
    """A message taken but not settled."""

    token: str
    payload: bytes
    deaths: int = 0
    """Consumers that died while they held it."""
    deaths_alone: int = 0
    """Of these, the times when it ran in a batch of one."""


class Claimed(NamedTuple):
    """The answer to a claim."""

    epoch: int
    """Changes when a consumer joins, changes or leaves: then look at `Claims.members` again."""
    now_ms: int
    """The server's clock."""
    messages: list[Claim]


class Reaped(NamedTuple):
    """What one call took from one dead consumer."""

    consumer: str
    returned: int
    left: int


class Promoted(NamedTuple):
    """How many delayed messages went to their lists, and when to ask again (-1: none is left)."""

    moved: int
    next_ms: int


class Call(NamedTuple, Generic[T]):
    """One run of a script."""

    script: script.Script
    arguments: tuple[Any, ...]
    read: Callable[[Any], T]
    """From the server's answer to the caller's; raises what the answer means."""


def claim(consumer: str, lists: Iterable[tuple[str, bool]], count: int, bytes_max: int = CLAIM_BYTES_MAX) -> Call[Claimed]:
    """Up to ``count`` of the oldest messages of ``lists``, pairs of a list and whether its queue has a single active consumer.

    Not to be repeated after a lost connection: it may have been run. Raises LeaseLost.
    """
    sources = [argument for name, single in lists for argument in (name, int(single))]
    return Call(script.CLAIM, (consumer, count, bytes_max, *sources), _read_claimed)


def _read_claimed(answer: list[Any]) -> Claimed:
    if not answer:
        raise LeaseLost("the consumer's lease ended")
    epoch, now_ms, deaths, *flat = answer
    counts = {token: value.split() for token, value in zip(deaths[::2], deaths[1::2], strict=True)}
    messages = []
    for token, payload in zip(flat[::2], flat[1::2], strict=True):
        if token in counts:
            messages.append(Claim(token.decode(), payload, *map(int, counts[token])))
        else:
            messages.append(Claim(token.decode(), payload))
    return Claimed(epoch, now_ms, messages)


def ack(consumer: str, tokens: Sequence[str]) -> Call[int]:
    """Settle claims; those that were lost are left alone. How many were settled. At most TOKENS_MAX."""
    return Call(script.ACK, (consumer, *tokens), int)


def give_back(consumer: str, tokens: Sequence[str]) -> Call[int]:
    """Return claims to the heads of their lists, in their order, without counting a death. At most TOKENS_MAX."""
    return Call(script.GIVE_BACK, (consumer, "these", *tokens), lambda answer: int(answer[0]))


def give_back_all(consumer: str) -> Call[int]:
    """Return the newest REAP_MAX of all claims; how many are left to return by further calls."""
    return Call(script.GIVE_BACK, (consumer, "", REAP_MAX), lambda answer: int(answer[1]))


def join(consumer: str, lease_ms: int, lanes: int = 0, single_active: Iterable[str] = ()) -> Call[None]:
    """Start a lease, or change what the consumer reads.

    Args:
        consumer: an id never used before, without blanks.
        lease_ms: see `renew`.
        lanes: the fleet's number of lanes as this process is configured; 0 for a consumer of none.
        single_active: the single-active queues it reads.

    Raises ConfigurationError when the fleet has another number of lanes, or is of a version that writes its keys otherwise.
    """

    def read(answer: Any) -> None:
        if int(answer) < 0:
            raise ConfigurationError(
                f"this broker's fleet writes format {-int(answer)}, this Headrace {FORMAT_KNOWN}: run the version that it was "
                "made by, or stop it, `headrace broker export` with that version, and start this one (docs/upgrades.md)"
            )
        if answer:
            raise ConfigurationError(
                f"HEADRACE_LANES is {lanes}, but this broker's fleet has {int(answer)} lanes: "
                f"set HEADRACE_LANES={int(answer)}, or change the fleet's as docs/broker.md says"
            )

    return Call(script.JOIN, (consumer, lease_ms, lanes, " ".join(single_active), FORMAT_KNOWN), read)


def leave(consumer: str) -> Call[int]:
    """End a lease; how many claims stand in the way."""
    return Call(script.LEAVE, (consumer,), int)


def renew(consumer: str, lease_ms: int) -> Call[None]:
    """Make the lease end ``lease_ms`` from now, by the server's clock. Raises LeaseLost."""

    def read(answer: Any) -> None:
        if not answer:
            raise LeaseLost("the consumer's lease ended")

    return Call(script.RENEW, (consumer, lease_ms), read)


def reap(lease_ms: int = 0) -> Call[Reaped]:
    """Take the claims of one consumer whose lease has ended, at most REAP_MAX of them.

    Args:
        lease_ms: the fleet's; after a time without service nothing is taken for half of it. 0: whoever is late is dead.
    """
    return Call(script.REAP, (REAP_MAX, lease_ms), lambda answer: Reaped(answer[0].decode(), answer[1], answer[2]))


def delay(consumer: str, token: str, *, until_ms: int | None = None, for_ms: int = 0) -> Call[int]:
    """Turn a claim into a delayed message, due ``until_ms`` of the server's clock or ``for_ms`` from now."""
    due = ("in", token, for_ms) if until_ms is None else ("at", token, until_ms)
    return Call(script.DELAY, (consumer, *due), int)


def promote(count: int = 100, *, everything: bool = False) -> Call[Promoted]:
    """Move up to ``count`` due messages (``everything``: the others too) to the tails of their lists."""
    return Call(script.PROMOTE, (count, "all" if everything else ""), lambda answer: Promoted(*answer))


def forward(consumer: str, targets: Sequence[tuple[str, str]]) -> Call[int]:
    """Move claims, pairs of a token and a list, to the tails of those lists, in this order. At most TOKENS_MAX."""
    return Call(script.FORWARD, (consumer, *(part for pair in targets for part in pair)), int)


def mark_alone(consumer: str, tokens: Sequence[str]) -> Call[int]:
    """Say that each of these claims now runs in a batch of one, so that a death tells its culprit."""
    return Call(script.MARK_ALONE, (consumer, *tokens), int)


def pause(queues: Iterable[str]) -> Call[None]:
    """Close queues to the whole fleet."""
    return Call(script.PAUSE, tuple(queues), lambda _: None)
