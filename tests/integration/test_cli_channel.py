"""`headrace channel` against a real database."""

import pytest

from shared.db.session import read_session
from shared.store import channels
from tests.command_line import CommandLine
from tests.conftest import RunningStack


@pytest.fixture
def headrace(clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    command_line = CommandLine(monkeypatch, capsys)
    command_line("account", "create", "demo")
    return command_line


def accepted_secrets(channel_id: str) -> tuple[str, ...]:
    with read_session() as session:
        record = channels.find(session, channel_id)
    return record.secrets if record else ()


def test_a_new_channel_says_where_to_post_and_with_which_secret(headrace: CommandLine) -> None:
    made = headrace("channel", "add", "demo", "--source", "standard", "--json").json
    assert set(made) == {"id", "url", "secret"}
    assert made["url"] == f"http://127.0.0.1:8080/v1/webhooks/{made['id']}"
    assert accepted_secrets(made["id"]) == (made["secret"],)


def test_a_given_secret_is_kept_verbatim_and_a_bad_one_refused(headrace: CommandLine) -> None:
    made = headrace("channel", "add", "demo", "--source", "github", "--secret", "s3cret-of-github", "--json").json
    assert accepted_secrets(made["id"]) == ("s3cret-of-github",)
    ended = headrace("channel", "add", "demo", "--source", "standard", "--secret", "hush")
    assert ended.code == 1
    assert "hush" not in ended.err


def test_a_list_shows_channels_without_secrets(headrace: CommandLine) -> None:
    headrace("account", "create", "other")
    made = headrace("channel", "add", "demo", "--source", "standard", "--json").json
    headrace("channel", "add", "other", "--source", "github")
    assert len(headrace("channel", "list", "--json").json) == 2
    (only,) = headrace("channel", "list", "demo", "--json").json
    assert (only["id"], only["account"], only["source"]) == (made["id"], "demo", "standard")
    for words in (("channel", "list"), ("channel", "list", "--json")):
        assert made["secret"] not in headrace(*words).out


def test_a_rotated_secret_is_printed_and_the_old_one_still_accepted(headrace: CommandLine) -> None:
    made = headrace("channel", "add", "demo", "--source", "standard", "--json").json
    rotated = headrace("channel", "rotate", made["id"], "--json").json
    assert rotated["secret"] != made["secret"]
    assert accepted_secrets(made["id"]) == (rotated["secret"], made["secret"])


def test_a_removed_channel_is_gone_and_an_unknown_one_an_error(headrace: CommandLine) -> None:
    made = headrace("channel", "add", "demo", "--source", "standard", "--json").json
    assert headrace("channel", "remove", made["id"]).code == 0
    assert accepted_secrets(made["id"]) == ()
    for words in (("remove", made["id"]), ("rotate", made["id"]), ("rotate", "no-uuid"), ("add", "nobody", "--source", "github")):
        ended = headrace("channel", *words)
        assert (ended.code, ended.err.count("\n")) == (1, 1)
