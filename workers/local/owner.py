"""Under whose uid Postgres runs: it refuses to be root, so as root it gets a uid of its own; everyone else runs it themselves.

Nothing that we did not create changes its mode or owner: a directory that the uid cannot reach is refused by name.
"""

import os
import pwd
import subprocess
from pathlib import Path
from typing import Any, NamedTuple

from shared.errors import HeadraceError

NAMES = ("postgres", "nobody")
"""`initdb` needs an entry in the password database. `postgres` exists for this and nothing else runs under it; `nobody` is
everywhere, and its other processes are no more trusted than we must assume of any local user: hence the password."""


class Owner(NamedTuple):
    """A uid and gid that a server runs under."""

    name: str
    uid: int
    gid: int


def as_owner(owner: Owner | None) -> dict[str, Any]:
    """The arguments of `subprocess` that run a child as ``owner``; none for ourselves."""
    return {"user": owner.uid, "group": owner.gid, "extra_groups": []} if owner else {}


class Unreachable(HeadraceError):
    """The server's uid may not enter a directory above its programs or its data. Open that directory, or choose another."""


def server_owner() -> Owner | None:
    """The owner for Postgres when we are root, None when we are not. Raises HeadraceError when there is no such user."""
    if os.geteuid() != 0:
        return None
    for name in NAMES:
        try:
            entry = pwd.getpwnam(name)
        except KeyError:
            continue
        return Owner(entry.pw_name, entry.pw_uid, entry.pw_gid)
    raise HeadraceError("no user `postgres` or `nobody` to run PostgreSQL as; mend: add one, or run headrace as an ordinary user")


def require_reachable(owner: Owner | None, directory: Path, what: str) -> None:
    """Raises Unreachable unless ``owner`` may enter ``directory`` and all above it. None is ourselves, who made it."""
    if owner is None or _may_enter(owner, directory):
        return
    above = [*reversed(directory.parents), directory]
    closed = next((each for each in above if not _may_enter(owner, each)), directory)
    raise Unreachable(
        f"PostgreSQL runs as user {owner.name}, who may not enter {closed} on the way to {what}; "
        f"mend: `chmod o+x {closed}`, use another place, or run headrace as an ordinary user"
    )


def _may_enter(owner: Owner, directory: Path) -> bool:
    # The kernel answers, as that uid: mode bits alone would ignore ACLs.
    question = ["test", "-x", str(directory)]
    return subprocess.run(question, check=False, **as_owner(owner)).returncode == 0
