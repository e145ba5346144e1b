"""A PgBouncer in transaction mode before a test's database: Debian's, the real thing."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from tests.redis_server import free_port
from tests.waiting import eventually
from workers.local.owner import as_owner, server_owner

PROGRAM = shutil.which("pgbouncer", path="/usr/sbin:/usr/bin:/usr/local/bin") or ""

SERVER_CONNECTIONS = 2
"""Fewer than the clients of any test, so that they must share."""

CONFIGURATION = """
[databases]
{database} = host={host} dbname={database} user={user} password={password}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = scram-sha-256
auth_file = {users}
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 100
"""


@contextmanager
def pgbouncer(database_url: str, directory: Path, *lines: str) -> Iterator[str]:
    """The URL of a database behind PgBouncer, for the length of a ``with``; skips where there is none.

    Args:
        database_url: of the server, on a Unix socket.
        directory: its own, which every uid may enter.
        lines: further ones of its configuration.
    """
    if not PROGRAM:
        pytest.skip("no pgbouncer on this machine (Debian: apt install pgbouncer)")
    url, owner, port = make_url(database_url), server_owner(), free_port()
    directory.mkdir(mode=0o711, exist_ok=True)
    users, configuration = directory / "users", directory / "pgbouncer.ini"
    users.write_text(f'"{url.username}" "{url.password}"\n')
    configuration.write_text(
        CONFIGURATION.format(
            database=url.database,
            host=url.query["host"],
            user=url.username,
            password=url.password,
            port=port,
            users=users,
            size=SERVER_CONNECTIONS,
        )
        + "\n".join(lines)
    )
    for file in (users, configuration):
        file.chmod(0o600)
        if owner:
            os.chown(file, owner.uid, owner.gid)
    through = url.set(host="127.0.0.1", port=port, query={}).render_as_string(hide_password=False)
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen([PROGRAM, configuration], stdout=log, stderr=log, cwd="/", **as_owner(owner))
    try:
        eventually("PgBouncer answers", lambda: _answers(through, process, directory / "log"))
        yield through
    finally:
        process.terminate()
        process.wait(10)


def _answers(url: str, process: "subprocess.Popen[bytes]", log: Path) -> bool:
    assert process.poll() is None, log.read_text(errors="replace")[-2000:]
    with suppress(psycopg.OperationalError), psycopg.connect(url, autocommit=True, prepare_threshold=None) as connection:
        return connection.execute("SELECT 1").fetchone() == (1,)
    return False
