"""What the documents name is there: metrics, settings, commands and their options, files."""

import re
from pathlib import Path

import click
import pytest

from shared.settings import PREFIX, Settings
from workers.cli.main import VERBS, cli

ROOT = Path(__file__).parents[2]
GUIDES = [*sorted((ROOT / "docs").glob("*.md")), ROOT / "README.md"]
PAGES = [*GUIDES, *sorted((ROOT / "docs" / "decisions").glob("*.md"))]
CODE = "\n".join(path.read_text() for top in ("shared", "workers") for path in (ROOT / top).rglob("*.py"))
METRICS = set(re.findall(r'"(headrace_[a-z0-9_]+)"', CODE))
NO_METRICS = {"headrace_lane"}
"""A header of messages."""
ROLES = set(re.findall(r"headrace_\w+", (ROOT / "deploy/postgres/roles.sql").read_text()))
OF_SCRIPTS = {"HEADRACE_ACL_QUEUES"}
"""Read by the scripts in deploy/."""

COMMAND = re.compile(r"`headrace ((?:[a-z-]+)(?: [^`\n]*)?)`|^headrace ([a-z-]+ ?[^\n#]*)", re.MULTILINE)

pages = pytest.mark.parametrize("page", PAGES, ids=lambda path: path.name)


@pages
def test_every_metric_that_is_named_is_one(page: Path) -> None:
    named = set(re.findall(r"headrace_[a-z0-9_]+", page.read_text())) - ROLES - NO_METRICS
    assert {each for each in named if re.sub(r"_(bucket|count|sum)$", "", each) not in METRICS and each not in METRICS} == set()


def test_every_metric_is_explained_somewhere() -> None:
    text = "\n".join(path.read_text() for path in PAGES)
    metrics = set(re.findall(r'(?:Gauge|Counter|Histogram)\(\s*"headrace_([a-z0-9_]+)"', CODE))
    assert len(metrics) > 40
    assert {each for each in metrics if each not in text} == set()


@pages
def test_every_setting_that_is_named_is_one(page: Path) -> None:
    known = {PREFIX + name.upper() for name in Settings.model_fields} | OF_SCRIPTS
    named = {each.rstrip("_") for each in re.findall(rf"{PREFIX}[A-Z0-9_]+", page.read_text())}
    assert named - known == set()


@pytest.mark.parametrize("page", GUIDES, ids=lambda path: path.name)
def test_every_command_that_is_named_is_one_and_takes_these_options(page: Path) -> None:
    for found in COMMAND.finditer(page.read_text()):
        words = (found[1] or found[2]).split()
        for verb in words[0].split("\\|"):
            if verb.isupper():
                continue
            assert verb in VERBS, found[0]
            command, rest = _of(verb), words[1:]
            while isinstance(command, click.Group) and rest and re.fullmatch(r"[a-z|\\-]+", rest[0]) and rest[0][0] != "-":
                names = re.split(r"\\?\|", rest[0])
                assert [name for name in names if name not in command.commands] == [], found[0]
                command, rest = command.commands[names[0]], rest[1:]
            options = {option for parameter in command.params for option in parameter.opts} | {"--help"}
            assert set(re.findall(r"--[a-z][a-z-]*", " ".join(rest))) - options == set(), found[0]


@pages
def test_every_file_that_is_linked_to_is_there(page: Path) -> None:
    links = [link for link in re.findall(r"\]\(([^)#\s]+)(?:#[^)]*)?\)", page.read_text()) if "://" not in link]
    assert [link for link in links if not (page.parent / link).exists()] == []


def _of(verb: str) -> click.Command:
    command = cli.get_command(click.Context(cli), verb)
    assert command is not None
    return command
