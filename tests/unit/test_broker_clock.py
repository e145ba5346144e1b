"""The transport asks no host for the time of day: leases and delays are the server's, durations are monotonic."""

import ast
from pathlib import Path

import pytest

import shared.broker.keys

SOURCES = sorted(Path(shared.broker.keys.__file__).parent.glob("*.py"))
WALL_CLOCKS = {"time", "time_ns", "now", "utcnow", "today", "gmtime", "localtime"}


@pytest.mark.parametrize("path", SOURCES, ids=lambda path: path.name)
def test_no_module_reads_the_host_s_time_of_day(path: Path) -> None:
    tree = ast.parse(path.read_text())
    called = {node.func.attr for node in ast.walk(tree) if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute)}
    imported = {
        alias.name
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom) and node.module == "time"
        for alias in node.names
    }
    allowed = {"time"} if path.name == "export.py" else set()  # Redis's command TIME
    assert (called & WALL_CLOCKS) - allowed == set()
    assert imported <= {"monotonic"}
