"""The `github` source: whom it believes and what it makes of a body."""

import json
from contextlib import suppress
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shared.clock import from_epoch
from shared.errors import InvalidMessage, InvalidSignature
from shared.message import TEXT_BYTES_MAX, Author, Message
from tasks.sources import github
from tests import signing
from tests.github_events import issue_comment, issue_opened, review_comment

SECRET = "a secret of GitHub's"


def message_of(event: str, body: dict[str, Any]) -> Message:
    message = github.parse(event, json.dumps(body).encode())
    assert message is not None
    return message


def test_the_example_of_githubs_documents_is_accepted() -> None:
    signature = "sha256=757107ea0eb2509fc211221cce984b8a37570b6d7586c22c46f4379c8b043e17"
    github.verify({"x-hub-signature-256": signature}, b"Hello, World!", ["It's a Secret to Everybody"], 0)


def test_every_accepted_secret_is_tried_and_no_time_is_asked() -> None:
    github.verify(signing.github(b"{}", SECRET, "ping"), b"{}", ["another", SECRET], 4e9)


@pytest.mark.parametrize("signature", [None, "", "sha256=", "sha1=00", "sha256=\xff", "SHA256=" + "0" * 64, "0" * 64])
def test_a_missing_or_wrong_signature_is_refused(signature: str | None) -> None:
    headers = {} if signature is None else {"x-hub-signature-256": signature}
    with pytest.raises(InvalidSignature):
        github.verify(headers, b"{}", [SECRET], 0)


@pytest.mark.parametrize(
    ("event", "body", "conversation_id"),
    [
        ("issues", issue_opened(), "octo/hello#7"),
        ("issue_comment", issue_comment(), "octo/hello#7"),
        ("pull_request_review_comment", review_comment(), "octo/hello#8"),
    ],
)
def test_the_thread_is_the_conversation_and_the_key_of_order(event: str, body: dict[str, Any], conversation_id: str) -> None:
    name = f"{event}.{body['action']}"
    assert github.peek({"x-github-event": event}, json.dumps(body).encode()) == (name, conversation_id, True)
    assert message_of(name, body).conversation_id == conversation_id


def test_a_comment_becomes_a_message_of_its_sender() -> None:
    assert message_of("issue_comment.created", issue_comment()) == Message(
        "IC_1", "octo/hello#7", Author("583231", "octocat"), "Me too.", from_epoch(1_795_510_800), {}
    )


@pytest.mark.parametrize(("body", "text"), [("Here.", "It leaks\n\nHere."), ("", "It leaks"), (None, "It leaks")])
def test_an_issues_text_is_its_title_and_its_body(body: str | None, text: str) -> None:
    message = message_of("issues.opened", issue_opened(body=body))
    assert (message.message_id, message.text) == ("I_1", text)


def test_a_comment_without_a_body_has_an_empty_text() -> None:
    assert message_of("issue_comment.created", issue_comment(body=None)).text == ""


def test_the_longest_text_that_github_takes_is_cut_at_a_character_and_says_so() -> None:
    message = message_of("issue_comment.created", issue_comment(body="a" + "\N{DROPLET}" * 65_535))
    assert message.text == "a" + "\N{DROPLET}" * ((TEXT_BYTES_MAX - 1) // 4)
    assert message.metadata == {github.CUT: 1 + 4 * 65_535}


def test_a_text_that_just_fits_is_whole() -> None:
    message = message_of("issue_comment.created", issue_comment(body="x" * TEXT_BYTES_MAX))
    assert (len(message.text), message.metadata) == (TEXT_BYTES_MAX, {})


def test_a_long_login_is_cut() -> None:
    body = issue_comment() | {"sender": {"id": 1, "login": "x" * 1000}}
    assert message_of("issue_comment.created", body).author.name == "x" * 255


@pytest.mark.parametrize(
    ("event", "body"),
    [("ping", {"zen": "Keep it."}), ("issues", issue_opened() | {"action": "closed"}), ("push", {"ref": "x"}), ("new", {})],
)
def test_an_event_that_is_not_handled_is_no_error(event: str, body: dict[str, Any]) -> None:
    raw = json.dumps(body).encode()
    peek = github.peek({"x-github-event": event}, raw)
    assert not peek.handled
    assert github.parse(peek.event, raw) is None


@pytest.mark.parametrize(
    ("headers", "body"),
    [
        ({}, b"{}"),
        ({"x-github-event": "x" * 1000}, b"{}"),
        ({"x-github-event": "ping"}, b"[]"),
        ({"x-github-event": "ping"}, b"payload=%7B%7D"),
        ({"x-github-event": "ping"}, b'{"a":NaN}'),
        ({"x-github-event": "ping"}, b'{"a":' + b"[" * 100_000 + b"]" * 100_000 + b"}"),
        ({"x-github-event": "issues"}, b'{"action":"opened"}'),
        ({"x-github-event": "issues"}, b'{"action":"opened","repository":{"full_name":"o/r"}}'),
        ({"x-github-event": "issue_comment"}, json.dumps(issue_comment(body="a\0b")).encode()),
    ],
)
def test_what_is_no_webhook_of_github_is_a_fault(headers: dict[str, str], body: bytes) -> None:
    with pytest.raises(InvalidMessage):
        github.peek(headers, body)


def test_text_that_spells_an_escaped_nul_is_no_nul() -> None:
    body = json.dumps(issue_comment(body="write \\u0000 in C")).encode()
    assert b"\\u0000" in body
    assert github.peek({"x-github-event": "issue_comment"}, body).handled


def test_a_parsers_fault_is_found_only_after_the_webhook_is_durable() -> None:
    body = issue_comment()
    del body["sender"]
    raw = json.dumps(body).encode()
    assert github.peek({"x-github-event": "issue_comment"}, raw).handled
    with pytest.raises(InvalidMessage, match="sender"):
        github.parse("issue_comment.created", raw)


@given(st.sampled_from(["issues", "issue_comment", "ping"]), st.binary() | st.text().map(str.encode))
def test_no_body_raises_anything_but_a_fault(event: str, body: bytes) -> None:
    with suppress(InvalidMessage):
        assert not github.peek({"x-github-event": event}, body).handled
