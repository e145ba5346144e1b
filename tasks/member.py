"""A message on its way through a child: from the wire, where it is as raw as in the queue, to what a handler sees."""

from dataclasses import dataclass
from functools import cached_property
from hashlib import sha1
from typing import Any, NamedTuple

import msgspec

from shared.broker.envelope import Undecodable
from shared.broker.envelope import decode as decode_envelope
from shared.clock import wall_seconds
from shared.envelope import ACCEPTED_AT, VIA
from shared.errors import InvalidMessage
from shared.message import decode

CLOCK_SKEW_SECONDS_MAX = 3600
"""A time of acceptance further in the future is no time."""

JSON = "application/json"


class Wire(NamedTuple):
    """A message between the parent and a child.

    ``verdict`` is why the parent gave it up (attempts used up, lost twice): it is then buried, not handled; else empty.
    ``claimed_at``: wall-clock seconds.
    """

    queue: str
    token: str
    payload: bytes
    claimed_at: float
    history: list[dict[str, Any]]
    verdict: str


class Call(msgspec.Struct, array_like=True, frozen=True):
    """The body of a Celery protocol-2 message."""

    arguments: list[msgspec.Raw]
    keywords: msgspec.Raw = msgspec.Raw(b"{}")
    embedded: msgspec.Raw = msgspec.Raw(b"{}")


@dataclass(frozen=True)
class Member:
    """One message as a handler sees it."""

    wire: Wire
    headers: dict[str, Any]
    body: bytes

    @property
    def task(self) -> str:
        """The name of its task; empty when it names none."""
        name: str = self.headers.get("task", "")
        return name

    @property
    def task_id(self) -> str:
        """The id of its task; of what is no task message, the hash of its bytes."""
        return str(self.headers.get("id") or sha1(self.wire.payload, usedforsecurity=False).hexdigest())

    @cached_property
    def argument(self) -> msgspec.Raw:
        """The message's one argument, as raw JSON. Raises InvalidMessage when the body is no such call."""
        arguments = decode(self.body, Call).arguments
        if len(arguments) != 1:
            raise InvalidMessage("takes one positional argument", "args")
        return arguments[0]

    @cached_property
    def received_at(self) -> float:
        """Wall-clock seconds when it was accepted by the edge, or else claimed here."""
        accepted = self.headers.get(ACCEPTED_AT)
        said = isinstance(accepted, int | float) and 0 <= accepted <= wall_seconds() + CLOCK_SKEW_SECONDS_MAX
        return float(accepted) if said else self.wire.claimed_at  # type: ignore[arg-type]

    @property
    def via(self) -> str:
        """The way in that its producer named, or empty."""
        return str(self.headers.get(VIA, ""))


def opened(wire: Wire) -> tuple[Member, str]:
    """The member, and why it cannot be handled, or empty."""
    try:
        envelope = decode_envelope(wire.payload)
    except Undecodable as error:
        return Member(wire, {}, wire.payload), wire.verdict or str(error)
    body, content_type = envelope["body"], envelope["content-type"]
    fault = "" if content_type == JSON else f"content type {content_type[:50]!r}, not {JSON}"
    return Member(wire, envelope["headers"], body if isinstance(body, bytes) else body.encode()), wire.verdict or fault
