"""GitHub: opened issues, and comments on issues, pull requests and their lines, each one message of ``owner/repo#number``.

GitHub does not repeat a webhook that was refused, so the edge looks only at what order needs, and the parser bends what
would break the contract: a text over 64 KiB (GitHub allows 65,536 characters, four times that in bytes) is cut at a
character and its whole length noted in the metadata, a long login is cut. The signature, ``X-Hub-Signature-256``, carries
no time: a replay has no effect because ``node_id`` is the message's id.
"""

import hmac
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any

import msgspec
from msgspec import Meta, Struct

from shared.errors import InvalidMessage, InvalidSignature
from shared.message import TEXT_BYTES_MAX, Message, decode, decode_message
from tasks.sources.source import Headers, Peek, Source

LOGIN_LENGTH_MAX = 255
EVENT_LENGTH_MAX = 100
CUT = "text_bytes_at_source"
"""Metadata key: the text's length in bytes before it was cut; absent when it is whole."""


class Repository(Struct):
    """``full_name`` is ``owner/repo``; GitHub's own bounds allow 140 characters."""

    full_name: Annotated[str, Meta(min_length=1, max_length=200)]


class Sender(Struct):
    """Who did it."""

    id: int
    login: str


class Numbered(Struct):
    """An issue or a pull request, as far as order needs it."""

    number: int


class Issue(Numbered):
    """An issue that was opened."""

    node_id: str
    title: str
    created_at: datetime
    body: str | None = None


class Comment(Struct):
    """What was said."""

    node_id: str
    created_at: datetime
    body: str | None = None


class Action(Struct):
    """What every event may have."""

    action: str = ""


class Place(Struct):
    """Where it happened: all that the edge looks at."""

    repository: Repository
    issue: Numbered | None = None
    pull_request: Numbered | None = None


class IssueOpened(Struct):
    """`issues`, action `opened`."""

    repository: Repository
    issue: Issue
    sender: Sender


class Commented(Place, kw_only=True):
    """`issue_comment` and `pull_request_review_comment`, action `created`."""

    comment: Comment
    sender: Sender


HANDLED: dict[str, type[IssueOpened | Commented]] = {
    "issues.opened": IssueOpened,
    "issue_comment.created": Commented,
    "pull_request_review_comment.created": Commented,
}


def verify(headers: Headers, body: bytes, secrets: Sequence[str], _now: float) -> None:
    """Raises InvalidSignature unless ``X-Hub-Signature-256`` fits one of the secrets."""
    signature = headers.get("x-hub-signature-256", "").encode("latin-1", "replace")
    if not signature:
        raise InvalidSignature("X-Hub-Signature-256 is required")
    for secret in secrets:
        if hmac.compare_digest(b"sha256=" + hmac.digest(secret.encode(), body, "sha256").hex().encode(), signature):
            return
    raise InvalidSignature("no signature fits")


def peek(headers: Headers, body: bytes) -> Peek:
    """The event and its conversation. Raises InvalidMessage when there is no event, no repository or no number."""
    name = headers.get("x-github-event", "")
    if not 0 < len(name) <= EVENT_LENGTH_MAX:
        raise InvalidMessage("required header is missing", "X-GitHub-Event")
    action = decode(body, Action).action
    event = f"{name}.{action}" if action else name
    if event not in HANDLED:
        return Peek(event, "", False)
    conversation_id = _conversation_id(decode(body, Place))
    if b"\\u0000" in body:
        parse(event, body)  # the one fault that is looked for here: the contract promises a 400 for it
    return Peek(event, conversation_id, True)


def parse(event: str, body: bytes) -> Message | None:
    """The message of a handled event, else None. Raises InvalidMessage."""
    shape = HANDLED.get(event)
    if shape is None:
        return None
    happened = decode(body, shape)
    if isinstance(happened, IssueOpened):
        issue = happened.issue
        text = f"{issue.title}\n\n{issue.body}" if issue.body else issue.title
        return _message(happened, issue, f"{happened.repository.full_name}#{issue.number}", text)
    return _message(happened, happened.comment, _conversation_id(happened), happened.comment.body or "")


def _conversation_id(place: Place) -> str:
    thread = place.issue or place.pull_request
    if thread is None:
        raise InvalidMessage("required field is missing", "issue")
    return f"{place.repository.full_name}#{thread.number}"


def _message(happened: IssueOpened | Commented, said: Issue | Comment, conversation_id: str, text: str) -> Message:
    fields: dict[str, Any] = {
        "message_id": said.node_id,
        "conversation_id": conversation_id,
        "author": {"id": str(happened.sender.id), "name": happened.sender.login[:LOGIN_LENGTH_MAX]},
        "text": text,
        "sent_at": said.created_at,
        "metadata": {},
    }
    encoded = text.encode()
    if len(encoded) > TEXT_BYTES_MAX:
        fields["text"] = encoded[:TEXT_BYTES_MAX].decode(errors="ignore")
        fields["metadata"] = {CUT: len(encoded)}
    return decode_message(msgspec.json.encode(fields))  # constructing a Message would check nothing


SOURCE = Source("github", verify, peek, parse)
