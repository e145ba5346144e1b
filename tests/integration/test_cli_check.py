"""`headrace check` against real servers."""

import pytest

from shared.settings import Settings, settings
from tests.command_line import CommandLine
from tests.conftest import RunningStack


@pytest.fixture
def headrace(stack: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_the_embedded_fleet_is_sound_and_every_setting_is_shown(headrace: CommandLine) -> None:
    answer = headrace("check", "--json").json
    assert answer["ok"] is True
    assert answer["not_asked"] == []
    assert 20 < answer["connections"] < headrace("check", "--workers", "2", "--json").json["connections"]
    assert set(answer["settings"]) == {f"HEADRACE_{name.upper()}" for name in Settings.model_fields}


def test_no_secret_is_shown(headrace: CommandLine, stack: RunningStack, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HEADRACE_FLOWER_PASSWORD", "hush-hush")
    settings.cache_clear()
    try:
        for words in (("check",), ("check", "--json")):
            out = headrace(*words).out
            for url in (stack.database_url, stack.broker_url, stack.cache_url):
                password = url.rpartition("@")[0].rpartition(":")[2]
                assert not password or password not in out
            assert "hush-hush" not in out
    finally:
        monkeypatch.undo()
        settings.cache_clear()


def test_a_fleet_too_large_for_its_database_exits_1_and_names_the_fix(headrace: CommandLine) -> None:
    ended = headrace("check", "--ingresses", "50")
    assert ended.code == 1
    assert ended.err.startswith("headrace: HEADRACE_DATABASE_POOL: ")
    assert "max_connections = " in ended.err


def test_one_server_for_broker_and_cache_and_a_server_that_is_not_there_are_faults(
    headrace: CommandLine, stack: RunningStack, monkeypatch: pytest.MonkeyPatch
) -> None:
    try:
        monkeypatch.setenv("HEADRACE_CACHE_URL", stack.broker_url)
        settings.cache_clear()
        assert "broker and cache are one server" in headrace("check").err
        monkeypatch.setenv("HEADRACE_CACHE_URL", "redis://127.0.0.1:20399/0")
        settings.cache_clear()
        assert "HEADRACE_CACHE_URL: no answer" in headrace("check").err
        monkeypatch.delenv("HEADRACE_CACHE_URL")
        settings.cache_clear()
        assert "not asked: HEADRACE_CACHE_URL" in headrace("check").out
    finally:
        monkeypatch.undo()
        settings.cache_clear()
