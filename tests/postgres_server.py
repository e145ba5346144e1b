"""A PostgreSQL of a test's own: started, stopped, crashed and frozen at will, with a replica if wanted."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from pathlib import Path

import psycopg
import pytest
from sqlalchemy.engine import make_url

from shared.db.engine import close_engine
from shared.db.migrate import upgrade
from shared.settings import settings
from tests.waiting import eventually
from workers.local import postgres, secret
from workers.local.binaries import postgres_programs
from workers.local.child import Child
from workers.local.identity import end, family
from workers.local.owner import as_owner, server_owner
from workers.local.secret import Secret

STREAMS = ("--wal_level=replica", "--max_wal_senders=4")
"""What a primary needs for a replica; ours has none, so its own settings save that."""


class PostgresServer:
    """One server; not started yet.

    Args:
        directory: its own, which every uid may enter.
        options: further settings, as on its command line.
        known: the secret of the cluster, when there is one already.
    """

    def __init__(self, directory: Path, *options: str, known: Secret | None = None) -> None:
        directory.mkdir(mode=0o711, exist_ok=True)
        self.secret = known or secret.renewed(None)
        self.home = directory / "postgres"
        self.socket = self.home / ".s.PGSQL.5432"
        self.url = postgres.url(directory, self.secret)
        self._directory, self._options = directory, options
        self._child: Child | None = None

    def url_at(self, port: int) -> str:
        """The same database, through a proxy on a loopback port."""
        url = make_url(self.url).set(host="127.0.0.1", port=port, query={})
        return url.render_as_string(hide_password=False)

    @property
    def running(self) -> bool:
        """It was started, and not stopped since."""
        return self._child is not None

    def start(self) -> None:
        """Start it, or start it again on the same files."""
        program = postgres.server(self._directory, self.secret)
        program = replace(program, command=(*program.command, *self._options))
        self._child = Child(program, self._directory / "log")
        eventually("the database answers", self._answers, within=30)

    def stop(self) -> None:
        """End it, whatever state it is in; its clients are disconnected."""
        if self._child:
            self.thaw()
            end([self._child.stoppable])
            self._child.reap()
            self._child = None

    def crash(self) -> None:
        """End it as ``pg_ctl stop -m immediate`` does: no checkpoint, no farewell, so the next start recovers."""
        assert self._child
        os.kill(self._child.identity.pid, signal.SIGQUIT)
        self._child.reap()
        self._child = None

    def freeze(self) -> None:
        """Everything of it stops; its sockets stay open."""
        self._signal(signal.SIGSTOP)

    def thaw(self) -> None:
        """It goes on where it stopped."""
        self._signal(signal.SIGCONT)

    def execute(self, sql: str, *values: object) -> list[tuple[object, ...]]:
        """On a connection of its own, committed; the rows, if there are any."""
        with psycopg.connect(self.url, autocommit=True) as connection:
            cursor = connection.execute(sql, values or None)  # type: ignore[arg-type]
            return cursor.fetchall() if cursor.description else []

    def _signal(self, number: int) -> None:
        if self._child:
            for process in family(self._child.identity):
                process.send_signal(number)

    def _answers(self) -> bool:
        assert self._child
        assert self._child.exit_status() is None, (self._directory / "log").read_text(errors="replace")[-2000:]
        with suppress(psycopg.OperationalError):
            self.execute("SELECT 1")
            return True
        return False


def replica_of(primary: PostgresServer, directory: Path) -> PostgresServer:
    """A streaming replica, not started yet, made by pg_basebackup. The primary runs with STREAMS."""
    it = PostgresServer(directory, *STREAMS, known=primary.secret)
    owner = server_owner()
    it.home.mkdir(mode=0o700)
    if owner:
        os.chown(it.home, owner.uid, owner.gid)
    source = f"host={primary.home} user={postgres.NAME} password={primary.secret.password}"
    command = [postgres_programs() / "pg_basebackup", "-D", it.home / "data", "-d", source, "-R", "-X", "stream", "-c", "fast"]
    subprocess.run(command, check=True, cwd="/", env=postgres.ENVIRONMENT, capture_output=True, **as_owner(owner))
    return it


@contextmanager
def serving(server: PostgresServer, **environment: str) -> Iterator[PostgresServer]:
    """Started and migrated, and this process's settings point at it; gone at the end.

    Args:
        environment: further settings of this process.
    """
    with pytest.MonkeyPatch.context() as patch:
        try:
            server.start()
            close_engine()
            patch.setenv("HEADRACE_DATABASE_URL", server.url)
            for name, value in environment.items():
                patch.setenv(name, value)
            settings.cache_clear()
            upgrade()
            yield server
        finally:
            close_engine()
            server.stop()
    settings.cache_clear()
