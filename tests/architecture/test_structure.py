"""The shape of the code: what a reviewer would otherwise have to look for in every change."""

import ast
from collections.abc import Iterator
from pathlib import Path

import annotated_types
import pytest

from shared.settings import Settings

ROOT = Path(__file__).parents[2]
PACKAGES = ("shared", "tasks", "workers", "loadgen")
FILE_LINES_MAX = 300
FUNCTION_LINES_MAX = 50
BUCKETS = {"util", "utils", "common", "helper", "helpers", "misc"}

MAY_TOUCH_THE_ENVIRONMENT = {
    "shared/settings.py": "reads it, for everyone",
    "shared/metrics.py": "prometheus-client takes its directory from there only",
    "workers/cli/status.py": "looks at the fleet of the data directory, whatever this shell says",
    "workers/local/plan.py": "children inherit PATH and the like",
    "workers/local/fleet.py": "from here on the settings are those of the fleet that is started",
}

SOURCES = [*sorted(path for package in PACKAGES for path in (ROOT / package).rglob("*.py")), ROOT / "celeryconfig.py"]
TESTS = sorted((ROOT / "tests").rglob("*.py"))


def named(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


def functions(path: Path) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef]:
    return (node for node in ast.walk(tree(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))


def calls_of(path: Path, *names: str) -> list[str]:
    """Where one of ``names``, such as ``time.sleep``, is mentioned as an attribute."""
    found = (node for node in ast.walk(tree(path)) if isinstance(node, ast.Attribute) and ast.unparse(node) in names)
    return [f"{named(path)}:{node.lineno}" for node in found]


def test_no_file_is_longer_than_can_be_read_at_once() -> None:
    lengths = {named(path): len(path.read_text().splitlines()) for path in SOURCES + TESTS}
    assert {path: lines for path, lines in lengths.items() if lines > FILE_LINES_MAX} == {}


def test_no_function_is_longer_than_a_screen() -> None:
    lengths = {
        f"{named(path)}:{node.name}": (node.end_lineno or node.lineno) - node.lineno + 1
        for path in SOURCES
        for node in functions(path)
    }
    assert {name: lines for name, lines in lengths.items() if lines > FUNCTION_LINES_MAX} == {}


def test_every_file_is_named_after_a_noun_and_none_is_a_bucket() -> None:
    assert [named(path) for path in SOURCES + TESTS if BUCKETS & {part.lower() for part in path.with_suffix("").parts}] == []


def test_every_module_says_what_it_is() -> None:
    assert [named(path) for path in SOURCES + TESTS if path.read_text().strip() and not ast.get_docstring(tree(path))] == []


def undocumented(path: Path) -> Iterator[str]:
    """Public functions and classes of the module, and public methods of classes without bases of their own.

    What overrides another class's method, or answers to a protocol of the module, is documented where it is declared.
    """
    module = tree(path)
    protocols = [node for node in module.body if isinstance(node, ast.ClassDef) and "Protocol" in map(ast.unparse, node.bases)]
    declared = {
        method.name for node in protocols for method in node.body if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef)
    }
    for node in module.body:
        if not isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) or node.name.startswith("_"):
            continue
        if not ast.get_docstring(node):
            yield f"{named(path)}:{node.name}"
        if isinstance(node, ast.ClassDef) and not node.bases:
            methods = (method for method in node.body if isinstance(method, ast.FunctionDef | ast.AsyncFunctionDef))
            yield from (
                f"{named(path)}:{node.name}.{method.name}"
                for method in methods
                if not method.name.startswith("_") and method.name not in declared and not ast.get_docstring(method)
            )


def test_everything_public_says_what_it_does() -> None:
    migrations = ROOT / "shared/db/migrations/versions"  # Alembic's names; the module says what the migration does
    assert [name for path in SOURCES if migrations not in path.parents for name in undocumented(path)] == []


def test_no_test_sleeps() -> None:
    """`asyncio.sleep(0)` gives way to other coroutines and waits for nothing."""
    calls = ((path, node) for path in TESTS for node in ast.walk(tree(path)) if isinstance(node, ast.Call))
    sleeping = [
        f"{named(path)}:{node.lineno}"
        for path, node in calls
        if ast.unparse(node.func) in ("time.sleep", "sleep") or ast.unparse(node).startswith("asyncio.sleep(")
        if ast.unparse(node) != "asyncio.sleep(0)"
    ]
    assert sleeping == []


def test_the_environment_is_read_in_one_place() -> None:
    touching = {named(path) for path in SOURCES if calls_of(path, "os.environ", "os.getenv", "os.putenv")}
    assert touching - MAY_TOUCH_THE_ENVIRONMENT.keys() == set()


def test_prometheus_client_is_imported_through_our_metrics_which_set_it_up_first() -> None:
    importing = {
        named(path)
        for path in SOURCES
        for node in ast.walk(tree(path))
        if (isinstance(node, ast.ImportFrom) and (node.module or "").startswith("prometheus_client"))
        or (isinstance(node, ast.Import) and any(alias.name.startswith("prometheus_client") for alias in node.names))
    }
    assert importing == {"shared/metrics.py"}


def test_opentelemetry_is_touched_in_one_place_which_is_loaded_only_when_tracing_is_on() -> None:
    words = ("import opentelemetry", "from opentelemetry")
    assert [named(path) for path in SOURCES if any(word in path.read_text() for word in words)] == ["shared/otel.py"]
    loading = ("\nfrom shared.otel", "\nimport shared.otel")
    assert [named(path) for path in SOURCES if any(word in path.read_text() for word in loading)] == []


def test_nothing_pickles() -> None:
    words = ("import pickle", "from pickle", '"pickle"', "'pickle'")
    assert [named(path) for path in SOURCES if any(word in path.read_text() for word in words)] == []


@pytest.mark.parametrize("name", Settings.model_fields)
def test_every_setting_is_documented_and_every_number_bounded(name: str) -> None:
    field = Settings.model_fields[name]
    assert field.description
    if field.annotation in (int, float):
        kinds = {type(bound) for bound in field.metadata}
        assert kinds >= {annotated_types.Ge, annotated_types.Le} or kinds >= {annotated_types.Gt, annotated_types.Le}
