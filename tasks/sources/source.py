"""What a webhook source is: three functions over the raw call. One file a provider implements them; `registry` lists them.

The ingress verifies and finds the order key, shallowly; the child that stores parses. So a parser's bug costs a dead
letter that can be replayed, never a webhook.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import NamedTuple

from shared.message import Message


class Peek(NamedTuple):
    """What the edge needs to know of a webhook before it is durable.

    Args:
        event: the provider's name of what happened, such as ``message.created`` or ``issue_comment.created``.
        order_key: the conversation's id where the webhook can hold only one, else empty: the channel is the key.
        handled: whether `parse` makes a message of this event; what it does not is acknowledged, counted and not queued.
    """

    event: str
    order_key: str
    handled: bool


Headers = Mapping[str, str]
"""HTTP headers with lower-case names."""


class Source(NamedTuple):
    """A provider.

    Args:
        name: as `headrace channel add --source` takes it.
        verify: (headers, raw body, accepted secrets, wall-clock seconds); raises InvalidSignature.
        peek: (headers, raw body); raises InvalidMessage when the body is not JSON or not this source's shape.
        parse: (event, raw body) to the message, or None when this event is not handled; raises InvalidMessage.
    """

    name: str
    verify: Callable[[Headers, bytes, Sequence[str], float], None]
    peek: Callable[[Headers, bytes], Peek]
    parse: Callable[[str, bytes], Message | None]
