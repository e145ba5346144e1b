"""Named statements. A name stands in the statement's SQL as a comment, so that the server's own views and logs show it, in the
metrics, in the log of slow statements, and it is what `headrace db explain NAME` takes.
"""

import re
from difflib import get_close_matches
from time import perf_counter
from typing import Any, TypeVar

from sqlalchemy import Engine, Executable, event
from sqlalchemy.engine import ExceptionContext, ExecutionContext

from shared.errors import NotFound
from shared.metrics import QUERY_SECONDS

OPTION = "headrace_query"
"""The execution option that carries a name."""

UNNAMED = "other"
"""What a statement without a name counts as."""

_NAME = re.compile(r"[a-z_]+\.[a-z_]+")

S = TypeVar("S", bound=Executable)

_named: dict[str, Executable] = {}


def define(name: str, statement: S) -> S:
    """``statement`` with a name such as ``messages.page``: the noun's module, a dot, a verb or a noun. Once for each name."""
    if name in _named:
        raise ValueError(f"there are two statements {name!r}")
    it = tagged(name, statement)
    _named[name] = it
    return it


def tagged(name: str, statement: S) -> S:
    """The same for a statement that is made anew for each call; see `define`."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a statement")
    it: S = statement.execution_options(**{OPTION: name})
    return it


def names() -> list[str]:
    """Of all statements of the modules imported so far, sorted."""
    return sorted(_named)


def statement_named(name: str) -> Executable:
    """The statement. Raises NotFound."""
    if name not in _named:
        near = get_close_matches(name, names(), n=1)
        hint = f"; did you mean {near[0]!r}?" if near else "; `headrace db explain` lists them"
        raise NotFound(f"no statement {name!r}{hint}")
    return _named[name]


def name_of(context: ExecutionContext | None) -> str:
    """The name of what runs, or `UNNAMED`."""
    return str(context.execution_options.get(OPTION, UNNAMED)) if context is not None else UNNAMED


def seconds_of(context: ExecutionContext | None) -> float:
    """How long it ran; 0.0 before it has ended."""
    return float(getattr(context, "headrace_seconds", 0.0))


def instrument(engine: Engine) -> None:
    """Mark and time every statement of ``engine``. Goes before whatever looks at `seconds_of`."""
    event.listen(engine, "before_cursor_execute", _begin, retval=True)
    event.listen(engine, "after_cursor_execute", _end)
    event.listen(engine, "handle_error", _end_by_error)


def _begin(_c: Any, _k: Any, statement: str, parameters: Any, context: Any, _many: bool) -> tuple[str, Any]:
    if context is None:
        return statement, parameters
    context.headrace_started = perf_counter()
    name = name_of(context)
    return (statement if name == UNNAMED else f"/* {name} */ {statement}"), parameters


def _end(_c: Any, _k: Any, _statement: str, _parameters: Any, context: Any, _many: bool) -> None:
    started = getattr(context, "headrace_started", None)
    if started is not None:
        context.headrace_seconds = perf_counter() - started
        QUERY_SECONDS.labels(name_of(context)).observe(context.headrace_seconds)


def _end_by_error(error: ExceptionContext) -> None:
    _end(None, None, "", None, error.execution_context, False)
