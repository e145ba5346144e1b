"""An error as it may be shown: without its text, which may quote a message."""

import traceback

from shared.errors import HeadraceError


def describe(error: BaseException) -> str:
    """The kind, the SQLSTATE, and where in our code it arose; of our own errors the text, which never quotes."""
    if isinstance(error, HeadraceError):
        return f"{type(error).__name__}: {error}"
    cause = getattr(error, "orig", None) or error
    state = getattr(cause, "sqlstate", None)
    frames = [frame for frame in traceback.extract_tb(error.__traceback__) if "site-packages" not in frame.filename]
    place = f" in {frames[-1].name}, line {frames[-1].lineno}" if frames else ""
    return f"{type(cause).__name__}{f' (SQLSTATE {state})' if state else ''}{place}"
