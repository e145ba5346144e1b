"""`headrace worker-profile` without a worker: what it refuses, and how it says so."""

import os
from pathlib import Path

import pytest

from tests.command_line import CommandLine


@pytest.fixture
def headrace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_without_a_fleet_it_says_how_to_name_a_process(headrace: CommandLine, tmp_path: Path) -> None:
    ended = headrace("worker-profile", "--data-dir", tmp_path)
    assert ended.code == 1
    assert "mend: `headrace up`, name its --data-dir, or a worker's --pid" in ended.err


def test_a_process_that_does_not_listen_is_left_alone(headrace: CommandLine) -> None:
    """This one: the signal would end the test."""
    ended = headrace("worker-profile", "--pid", os.getpid())
    assert ended.code == 1
    assert f"process {os.getpid()} is no process of a headrace worker" in ended.err


def test_a_pid_that_is_nobody_s_and_a_wrong_length_are_named(headrace: CommandLine) -> None:
    assert "there is no process 4194304" in headrace("worker-profile", "--pid", 4_194_304).err
    assert headrace("worker-profile", "--seconds", 1).code == 2
