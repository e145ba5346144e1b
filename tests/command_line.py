"""`headrace ...` run inside the test's process: what it printed and its exit code."""

import json
import sys
from io import StringIO
from typing import Any, NamedTuple

import pytest

from workers.cli.main import main


class Ended(NamedTuple):
    """How a command ended."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """What it printed, as JSON."""
        assert self.code == 0, self.err
        return json.loads(self.out)


class CommandLine:
    """Call it with the words after `headrace`."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
        self._monkeypatch = monkeypatch
        self._capsys = capsys

    def __call__(self, *words: object) -> Ended:
        self._monkeypatch.setattr(sys, "stdin", StringIO())  # nobody answers
        self._monkeypatch.setattr(sys, "argv", ["headrace", *map(str, words)])
        self._capsys.readouterr()
        with pytest.raises(SystemExit) as ending:
            main()
        out, err = self._capsys.readouterr()
        assert isinstance(ending.value.code, int)
        return Ended(ending.value.code, out, err)
