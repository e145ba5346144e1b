"""What a command logs, which configures no logging."""

import pytest

from shared.log import get_logger


def test_what_a_command_logs_is_not_in_its_answer(capsys: pytest.CaptureFixture[str]) -> None:
    get_logger("a.command").warning("slow statement", query="a.query")
    out, err = capsys.readouterr()
    assert out == ""
    assert "slow statement" in err
