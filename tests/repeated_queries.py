"""A batch that runs one statement again and again fails the test in which it ran, with the SQL shown.

Batches run in this process and in workers that a test starts; both write to the file that `repeated_queries_file` names.
"""

import json
import os
from pathlib import Path

import pytest

VARIABLE = "HEADRACE_REPEATED_QUERIES_FILE"


def complaints() -> list[str]:
    """What was written since the last call."""
    path = Path(os.environ.get(VARIABLE, "/nowhere"))
    if not path.is_file():
        return []
    lines = [json.loads(line) for line in path.read_text().splitlines()]
    path.write_text("")
    return [f"{it['task']} ran this {it['times']} times in one batch: {it['sql']}" for it in lines]


def fail_on_complaints() -> None:
    """Fail the test that is ending if a batch of it repeated a statement."""
    found = complaints()
    if found:
        pytest.fail("N+1: ask once for all messages of a batch.\n" + "\n".join(sorted(set(found))), pytrace=False)
