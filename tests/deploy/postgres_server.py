"""A PostgreSQL with the configuration, access rules and roles that we ship, on a free port; destroyed and restored at will."""

import os
import re
import secrets
import shutil
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import psutil
import psycopg

from shared.db.engine import close_engine
from shared.settings import settings
from tests.deploy.manifest import DEPLOY
from tests.redis_server import free_port
from tests.waiting import eventually
from workers.local.binaries import postgres_programs
from workers.local.owner import as_owner, server_owner

SYSTEMS = sorted(Path("/usr/lib/postgresql").glob("*/bin/pg_verifybackup"))
"""Of the system's versions. The wheel's own pg_verifybackup does not start, and a backup that was not verified is none."""
ROLES = ("migrator", "app", "reader", "replication", "pgbouncer")
PASSWORDS = {role: secrets.token_hex(12) for role in (*ROLES, "superuser")}
ENVIRONMENT = {f"HEADRACE_{role.upper()}_PASSWORD": PASSWORDS[role] for role in ROLES}


def programs() -> Path:
    """The system's PostgreSQL, where there is one, else the wheel's."""
    return SYSTEMS[-1].parent if SYSTEMS else postgres_programs()


def run(*command: str | Path, **options: Any) -> str:
    """A program of the server's, as the user that may run it; what it printed."""
    environment = {"PATH": f"{programs()}:/usr/bin:/bin", "LC_ALL": "C", **options.pop("env", {})}
    done = subprocess.run(
        command, env=environment, cwd="/", capture_output=True, text=True, check=False, **as_owner(server_owner()), **options
    )
    assert done.returncode == 0, f"{command[0]}: {done.stderr}"
    return done.stdout


class Postgres:
    """See the module.

    Args:
        home: a directory that the server's user may enter; the cluster, its archive and its configuration are below it.
    """

    def __init__(self, home: Path) -> None:
        self.home, self.port = home, free_port()
        self.cluster, self.archive = home / "data", home / "archive"
        for directory in (home, self.archive):
            directory.mkdir(exist_ok=True)
            self.own(directory)
        self.process: subprocess.Popen[bytes] | None = None

    def own(self, path: Path) -> None:
        """Give it to the server's user."""
        if owner := server_owner():
            os.chown(path, owner.uid, owner.gid)

    def create(self) -> None:
        """A new cluster, its superuser's password set."""
        password = self.home / "password"
        password.write_text(PASSWORDS["superuser"])
        self.own(password)
        run(
            "initdb",
            "-D",
            self.cluster,
            "-U",
            "postgres",
            "--auth=scram-sha-256",
            f"--pwfile={password}",
            "--locale=C",
            "-E",
            "UTF8",
        )
        password.unlink()

    def configuration(self) -> Path:
        """Ours, with what a test must choose: places, and less memory."""
        text = (DEPLOY / "postgres/postgresql.conf").read_text()
        text = text.replace("/var/lib/postgresql/archive", str(self.archive))
        for name, value in {"listen_addresses": "'127.0.0.1'", "shared_buffers": "32MB"}.items():
            text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
        path = self.home / "postgresql.conf"
        path.write_text(text + f"port = {self.port}\nunix_socket_directories = ''\n")
        hba = self.home / "pg_hba.conf"
        hba.write_text((DEPLOY / "postgres/pg_hba.conf").read_text())
        for each in (path, hba):
            self.own(each)
        return path

    def start(self) -> None:
        """Start it, or start it again."""
        options = ("-c", f"config_file={self.configuration()}", "-c", f"hba_file={self.home}/pg_hba.conf")
        with (self.home / "log").open("ab") as log:
            self.process = subprocess.Popen(
                [programs() / "postgres", "-D", self.cluster, *options],
                env={"PATH": "/usr/bin:/bin", "LC_ALL": "C"},
                cwd="/",
                stdout=log,
                stderr=log,
                **as_owner(server_owner()),
            )
        eventually("the database answers", self._answers, within=60)

    def _answers(self) -> bool:
        assert self.process
        assert self.process.poll() is None, (self.home / "log").read_text()[-3000:]
        with suppress(psycopg.OperationalError), psycopg.connect(self.url("postgres", "postgres")):
            return True
        return False

    def kill(self) -> None:
        """As a power cut would: every process of it."""
        if self.process and self.process.poll() is None:
            family = psutil.Process(self.process.pid).children(recursive=True)
            for each in (psutil.Process(self.process.pid), *family):
                with suppress(psutil.NoSuchProcess):
                    each.kill()
            self.process.wait()
            psutil.wait_procs(family, timeout=10)

    def stop(self) -> None:
        """Fast."""
        if self.process and self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
            self.process.wait(30)

    def destroy(self) -> None:
        """Kill it and remove the cluster."""
        self.kill()
        shutil.rmtree(self.cluster)

    def url(self, role: str, database: str = "headrace") -> str:
        """As a process that has this role is told it."""
        user = "postgres" if role == "postgres" else f"headrace_{role}"
        password = PASSWORDS["superuser" if role == "postgres" else role]
        return f"postgresql://{user}:{password}@127.0.0.1:{self.port}/{database}"

    def make_roles(self) -> None:
        """Run roles.sql as an operator would."""
        target = self.url("postgres", "postgres")
        run(
            "psql",
            "-X",
            "-q",
            "-v",
            "ON_ERROR_STOP=1",
            "-d",
            target,
            input=(DEPLOY / "postgres/roles.sql").read_text(),
            env=ENVIRONMENT,
        )

    def query(self, sql: str, role: str = "postgres") -> list[tuple[Any, ...]]:
        """The rows of a statement of its own."""
        with psycopg.connect(self.url(role), autocommit=True) as connection:
            cursor = connection.execute(sql)
            return cursor.fetchall() if cursor.description else []


@contextmanager
def postgres(home: Path) -> Iterator[Postgres]:
    """A server with our roles for the length of a ``with``."""
    server = Postgres(home)
    try:
        server.create()
        server.start()
        server.make_roles()
        yield server
    finally:
        server.stop()


@contextmanager
def told(**changes: str) -> Iterator[None]:
    """This process's settings, changed for the length of a ``with``."""
    names = {f"HEADRACE_{name.upper()}": value for name, value in changes.items()}
    before = {name: os.environ.get(name) for name in names}
    close_engine()
    os.environ.update(names)
    settings.cache_clear()
    try:
        yield
    finally:
        close_engine()
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value
        settings.cache_clear()
