"""What the command line prints, and the one question it asks."""

from datetime import UTC, datetime

import click
import pytest

from shared.errors import HeadraceError
from workers.cli.output import cell, confirm, did_you_mean, print_records


def test_a_table_shows_ids_whole_and_senders_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    records = [{"id": "x" * 200, "name": "a\x1b[2J\nb\u202ec", "at": datetime(2026, 11, 24, 9, tzinfo=UTC), "gone": None}]
    print_records(records, ("id", "name", "at", "gone"), as_json=False)
    head, row = capsys.readouterr().out.splitlines()
    assert head.split() == ["id", "name", "at", "gone"]
    assert row.split() == ["x" * 200, r"a\x1b[2J\nb\u202ec", "2026-11-24", "09:00:00", "-"]


def test_what_has_parts_is_json_to_copy_and_cannot_steer_the_terminal_either() -> None:
    assert cell({"worker": None, "reason": "a\x1b\u202e"}) == r'{"worker":null,"reason":"a\u001b\u202e"}'


def test_an_empty_table_has_its_head_and_empty_json_is_a_list(capsys: pytest.CaptureFixture[str]) -> None:
    print_records([], ("id", "name"), as_json=False)
    print_records([], ("id", "name"), as_json=True)
    assert capsys.readouterr().out == "id  name\n[]\n"


def test_only_a_yes_goes_on(monkeypatch: pytest.MonkeyPatch) -> None:
    confirm("Sure?", yes=True)
    for agreed in (True, False):
        monkeypatch.setattr(click, "confirm", lambda *_, agreed=agreed, **__: agreed)
        if agreed:
            confirm("Sure?", yes=False)
        else:
            with pytest.raises(HeadraceError, match="nothing was changed"):
                confirm("Sure?", yes=False)


def test_where_nobody_answers_the_error_names_the_option(monkeypatch: pytest.MonkeyPatch) -> None:
    def nobody(*_: object, **__: object) -> bool:
        raise click.Abort

    monkeypatch.setattr(click, "confirm", nobody)
    with pytest.raises(HeadraceError, match="--yes"):
        confirm("Sure?", yes=False)


def test_a_near_word_is_suggested_and_a_far_one_is_not() -> None:
    assert did_you_mean("mesages", ("messages", "webhooks")) == "; did you mean 'messages'?"
    assert did_you_mean("zzz", ("messages", "webhooks")) == ""
