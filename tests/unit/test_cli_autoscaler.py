"""`headrace autoscaler simulate`: recorded load in, a drawing and figures out."""

import json
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.command_line import CommandLine


@pytest.fixture
def headrace(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def load(tmp_path: Path) -> Path:
    """A step from 50 to 1,000 a second and back."""
    file = tmp_path / "load.json"
    file.write_text(json.dumps([50] * 60 + [1000] * 120 + [50] * 600))
    return file


def test_it_draws_what_it_would_have_done(headrace: CommandLine, load: Path, tmp_path: Path) -> None:
    ended = headrace("autoscaler", "simulate", "--load", load, "--svg", tmp_path / "run.svg")
    assert ended.code == 0
    assert [line.split()[0] for line in ended.out.splitlines()[:3]] == ["arrivals", "lag", "workers"]
    drawing = ElementTree.parse(tmp_path / "run.svg").getroot()
    assert len(drawing.findall("{http://www.w3.org/2000/svg}polyline")) == 4


def test_as_json_it_tells_every_second(headrace: CommandLine, load: Path) -> None:
    found = headrace("autoscaler", "simulate", "--load", load, "--service", 300, "--max", 6, "--json").json
    assert (found["seconds"], len(found["run"]), found["backlog_left"]) == (780, 780, 0)
    assert 5 <= found["workers_max"] <= 6
    assert found["turns"] == 1


@pytest.mark.parametrize(
    ("text", "fault"),
    [
        ("[1, -2]", "second 1: -2 messages in a second"),
        ('["a"]', "is no JSON array of messages a second"),
        ("second,arrivals\n0,5\n1,x\n", "line 3: 'x' is no number of messages; write second,arrivals"),
        ("", "holds 0 seconds"),
    ],
)
def test_a_file_that_holds_no_load_is_refused_and_the_place_named(
    headrace: CommandLine, tmp_path: Path, text: str, fault: str
) -> None:
    file = tmp_path / "load"
    file.write_text(text)
    ended = headrace("autoscaler", "simulate", "--load", file)
    assert ended.code == 1
    assert fault in ended.err
    assert len(ended.err.splitlines()) == 1


def test_a_table_with_a_heading_is_read_as_well_as_bare_numbers(headrace: CommandLine, tmp_path: Path) -> None:
    for number, text in enumerate(("second,arrivals\n0,100\n1,200\n", "100\n200\n", "[100, 200]")):
        file = tmp_path / str(number)
        file.write_text(text)
        assert headrace("autoscaler", "simulate", "--load", file, "--json").json["messages"] == 300


def test_a_number_may_last_for_several_seconds(headrace: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "load").write_text("[10, 20]")
    found = headrace("autoscaler", "simulate", "--load", tmp_path / "load", "--step", 15, "--json").json
    assert (found["seconds"], found["messages"]) == (30, 450)


def test_bounds_that_cross_are_wrong_usage(headrace: CommandLine, load: Path) -> None:
    assert headrace("autoscaler", "simulate", "--load", load, "--min", 5, "--max", 2).code == 2
