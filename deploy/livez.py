#!/usr/local/bin/python -IS
"""Is this container's process alive? Exits 0 when the URL in HEADRACE_LIVEZ answers 200, else 1. For Docker's HEALTHCHECK.

Standard library only and no site-packages (-IS): it is started every ten seconds.
"""

import os
import sys
from http.client import HTTPConnection, HTTPException
from urllib.parse import urlsplit

SECONDS_MAX = 2


def main() -> int:
    """The exit code."""
    url = urlsplit(os.environ.get("HEADRACE_LIVEZ", "http://127.0.0.1:8080/livez"))
    connection = HTTPConnection(url.hostname or "127.0.0.1", url.port or 80, timeout=SECONDS_MAX)
    try:
        connection.request("GET", url.path or "/")
        return int(connection.getresponse().status != 200)
    except (OSError, HTTPException) as error:
        print(f"{url.geturl()}: {error}", file=sys.stderr)  # noqa: T201 - Docker keeps it
        return 1


if __name__ == "__main__":
    sys.exit(main())
