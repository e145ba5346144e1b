"""docs/configuration.md, made of the settings themselves: ``make docs``. A test compares the two."""

import sys
from pathlib import Path
from typing import Any

from annotated_types import Ge, Le
from pydantic.fields import FieldInfo

from shared.settings import PREFIX, Settings

HEAD = """# Configuration

Made from `shared/settings.py` by `make docs`; change it there.

Every process reads `HEADRACE_...` from its environment, once, when it starts; a wrong value ends it with one line that names the
variable. `headrace check` prints each with the value in force, secrets masked, and says what does not fit together. A command
in the directory of a fleet that `headrace up` started finds its servers without any.

A number's bounds are those that the process accepts. Where a value must be the same everywhere, it says so: `HEADRACE_LANES`.

| variable | default | accepts | what it is |
| --- | --- | --- | --- |
"""

KINDS: dict[Any, str] = {bool: "true or false", Path: "a path"}


def page() -> str:
    """The whole file."""
    return HEAD + "".join(_line(name, field) for name, field in Settings.model_fields.items())


def _line(name: str, field: FieldInfo) -> str:
    cells = (f"`{PREFIX}{name.upper()}`", _shown(field.default), _accepts(field), field.description or "")
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |\n"


def _shown(value: Any) -> str:
    if isinstance(value, bool):
        return f"`{str(value).lower()}`"
    return f"`{value}`" if value != "" else "-"


def _accepts(field: FieldInfo) -> str:
    lowest = next((bound.ge for bound in field.metadata if isinstance(bound, Ge)), None)
    highest = next((bound.le for bound in field.metadata if isinstance(bound, Le)), None)
    if lowest is not None:
        return f"{lowest} to {highest}"
    pattern = next((bound.pattern for bound in field.metadata if getattr(bound, "pattern", None)), None)
    if pattern:
        return f"`{pattern}`"
    return KINDS.get(field.annotation, "text")


if __name__ == "__main__":
    sys.stdout.write(page())
