"""The command line as a whole: wrong usage, failures, and what a failure must not show."""

import subprocess
import sys

import psycopg
import pytest
import redis
from sqlalchemy.exc import IntegrityError, OperationalError

from shared.errors import HeadraceError
from tests.command_line import CommandLine
from workers.cli import main as command_line
from workers.cli.account import account


@pytest.fixture
def headrace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.mark.parametrize(
    ("words", "hint"),
    [
        (["acount", "list"], "did you mean 'account'? See `headrace --help`"),
        (["account", "lst"], "See `headrace account --help`"),
        (["account", "create"], "See `headrace account create --help`"),
        (["dlq", "list", "--older-than", "soon"], "90s, 30m, 2h or 7d"),
        (["channel", "add", "demo", "--source", "slack"], "'standard', 'github'"),
        (["channel", "add", "demo"], "Missing option '--source'. Choose from: standard, github. See"),
        (["queue", "pause"], "See `headrace queue pause --help`"),
        (["doctor", "--data-dir", "x"], "set HEADRACE_DATA_DIR"),
    ],
)
def test_wrong_usage_exits_2_with_one_line_that_helps(headrace: CommandLine, words: list[str], hint: str) -> None:
    ended = headrace(*words)
    assert ended.code == 2
    assert ended.err.startswith("headrace: ")
    assert hint in ended.err
    assert ended.err.count("\n") == 1
    assert ended.out == ""


def test_help_exits_0_and_nothing_at_all_exits_2(headrace: CommandLine) -> None:
    assert headrace("--help").code == 0
    assert headrace("dlq", "replay", "--help").code == 0
    assert headrace().code == 2


def failing(monkeypatch: pytest.MonkeyPatch, error: Exception) -> None:
    def raise_it(**_: object) -> None:
        raise error

    monkeypatch.setattr(account.commands["list"], "callback", raise_it)


@pytest.mark.parametrize(
    ("error", "line"),
    [
        (HeadraceError("no luck; try again"), "headrace: no luck; try again\n"),
        (
            redis.ConnectionError("Error 111 connecting\nmore"),
            "headrace: the broker: Error 111 connecting; see HEADRACE_BROKER_URL\n",
        ),
        (
            OperationalError("SELECT secret", {"secret": "whsec_hush"}, psycopg.OperationalError("refused\n  Is it running?")),
            "headrace: the database: refused; see HEADRACE_DATABASE_URL\n",
        ),
        (
            OperationalError("SELECT", {}, psycopg.errors.UndefinedTable('relation "accounts" does not exist')),
            "headrace: the database lacks our tables or has old ones; run `headrace db upgrade`\n",
        ),
    ],
)
def test_a_failure_exits_1_with_one_line_and_no_values(
    headrace: CommandLine, monkeypatch: pytest.MonkeyPatch, error: Exception, line: str
) -> None:
    failing(monkeypatch, error)
    assert headrace("account", "list") == (1, "", line)


def test_a_bug_keeps_its_traceback(headrace: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    failing(monkeypatch, ZeroDivisionError())
    with pytest.raises(ZeroDivisionError):
        headrace("account", "list")
    failing(monkeypatch, IntegrityError("INSERT", {}, psycopg.errors.CheckViolation("bad")))
    assert headrace("account", "list").code == 1


def test_every_verb_is_where_its_entry_says() -> None:
    for verb in command_line.VERBS:
        found = command_line.cli.get_command(command_line.click.Context(command_line.cli), verb)
        assert found is not None
        assert found.name == verb
        assert found.help


def test_help_loads_no_celery_and_no_database() -> None:
    code = "import sys; from workers.cli.main import cli; cli(['--help'], standalone_mode=False); print(sorted(sys.modules))"
    loaded = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, timeout=60).stdout
    assert "'celery'" not in loaded
    assert "'sqlalchemy'" not in loaded


@pytest.mark.parametrize("verb", command_line.VERBS)
def test_every_help_says_what_its_commands_do_to_the_end_of_the_sentence(headrace: CommandLine, verb: str) -> None:
    ended = headrace(verb, "--help")
    assert ended.code == 0
    assert "..." not in ended.out.replace("[ARGS]...", "").replace("[NAMES]...", "").replace("HEADRACE_...", "")
