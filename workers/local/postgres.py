"""The embedded PostgreSQL: a cluster below the data directory, made on first use, run from the wheel's binaries.

It listens on a Unix socket inside its own directory, or on loopback where that path is too long for a socket. Passwords
(SCRAM) are asked for on both; the directory is closed to everybody else besides. Our role is the cluster's superuser: it
belongs to one fleet on one machine. A server that others share should give Headrace a plain role.
"""

import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any
from urllib.parse import quote

import psutil

from shared.errors import HeadraceError
from workers.local.binaries import POSTGRES_MAJOR, postgres_programs
from workers.local.identity import family, identity_of, kill
from workers.local.owner import Owner, as_owner, require_reachable, server_owner
from workers.local.program import SERVERS, Program
from workers.local.secret import Secret

NAME = "headrace"
"""Of the role and of the database."""

SOCKET_PATH_BYTES_MAX = 107
"""Of `sun_path` on Linux, without its closing NUL."""

ENVIRONMENT = {"PATH": "/usr/bin:/bin", "LC_ALL": "C"}
"""Nothing of ours: a stray PGPORT or PGDATA would redirect the server."""

TUNING = {
    "shared_buffers": "128MB",  # the indexes that a minute's messages touch; the machine belongs to the workers
    "max_connections": "70",  # two ingresses' pools, eight workers of two children, exporter and tools; a few in reserve
    "synchronous_commit": "on",  # a message is acknowledged after its commit is on disk
    "wal_level": "minimal",  # nothing replicates from here
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",  # one process less
    "wal_compression": "on",  # whole pages are logged after each checkpoint; compressed they are a third
    # After a checkpoint each page is logged whole once: one every 270 MB tripled a batch's work at 5 million messages, one every
    # 700 MB took `messages.write` under full load from 30 to 99 ms at p95. But a crash reads back all that came since, 70 MB a
    # second, within the 15 s that it may take (docs/database.md).
    "max_wal_size": "1GB",
    "checkpoint_completion_target": "0.1",  # begun at 930 MB: so few buffers are written in 2 s and need not begin at half
    "checkpoint_warning": "0",  # one every 40 s at full speed is as meant
    "random_page_cost": "1.1",  # SSDs
    "jit": "off",  # statements take milliseconds; compiling one takes longer
    "max_parallel_workers_per_gather": "0",  # the cores belong to the workers
    "io_method": "sync",  # reads are few and cached: three I/O processes less
    "timezone": "UTC",
    "log_timezone": "UTC",
    "log_error_verbosity": "terse",  # a detail line quotes values, and values are customers' texts
    "log_min_error_statement": "panic",  # so do statements
    "log_parameter_max_length": "0",  # and parameters
    "cluster_name": NAME,  # shown by ps
}


def url(data_dir: Path, secret: Secret) -> str:
    """What SQLAlchemy and psycopg take verbatim."""
    home = _home(data_dir)
    if _socket_fits(home):
        return f"postgresql://{NAME}:{secret.password}@/{NAME}?host={quote(str(home), safe='')}"
    return f"postgresql://{NAME}:{secret.password}@127.0.0.1:{secret.port}/{NAME}"


def server(data_dir: Path, secret: Secret) -> Program:
    """The server, its cluster made when there is none. Raises HeadraceError in one line when it cannot run here."""
    programs, owner, home = postgres_programs(), server_owner(), _home(data_dir)
    require_reachable(owner, programs, "its programs")
    require_reachable(owner, data_dir, "its data")
    if not home.exists():
        home.mkdir(mode=0o700)
        if owner:
            os.chown(home, owner.uid, owner.gid)
    cluster = home / "data"
    if not cluster.exists():
        _create_cluster(programs, home, secret.password, owner)
    _require_version(cluster)
    postmaster = PostmasterFile(cluster)
    listening = {"listen_addresses": "", "unix_socket_directories": str(home)}
    if not _socket_fits(home):
        listening = {"listen_addresses": "127.0.0.1", "unix_socket_directories": "", "port": str(secret.port)}
    options = [f"--{name}={value}" for name, value in {**TUNING, **listening}.items()]
    return Program(
        name="postgres",
        command=(str(programs / "postgres"), "-D", str(cluster), *options),
        environment=ENVIRONMENT,
        is_ready=postmaster.says_ready,
        before_start=postmaster.settle,
        stop_signal=signal.SIGINT,  # "fast": disconnect the clients, write a checkpoint, end
        stop_stage=SERVERS,
        owner=owner,
    )


def _home(data_dir: Path) -> Path:
    return data_dir / "postgres"


def _socket_fits(home: Path) -> bool:
    return len(os.fsencode(home / ".s.PGSQL.5432")) <= SOCKET_PATH_BYTES_MAX


def _create_cluster(programs: Path, home: Path, password: str, owner: Owner | None) -> None:
    # Made beside its place and renamed into it: a cluster that is there is whole.
    partial = home / "data.partial"
    shutil.rmtree(partial, ignore_errors=True)
    reader, writer = os.pipe()  # the password touches no disk and no command line
    with os.fdopen(reader) as source, os.fdopen(writer, "w") as sink:
        if owner:
            os.fchown(source.fileno(), owner.uid, owner.gid)
        sink.write(password + "\n")
        sink.flush()
        # Sorted by code point, the same on every machine: the system's locales change under an index.
        locale = ("--encoding=UTF8", "--locale=C", "--locale-provider=builtin", "--builtin-locale=C.UTF-8")
        access = (f"--username={NAME}", "--auth=scram-sha-256", f"--pwfile=/dev/fd/{source.fileno()}")
        _run([programs / "initdb", "-D", partial, *access, *locale, "--no-instructions"], owner, pass_fds=[source.fileno()])
    _run([programs / "postgres", "--single", "-D", partial, "postgres"], owner, input=f"CREATE DATABASE {NAME}")
    partial.rename(home / "data")


def _run(command: list[Path | str], owner: Owner | None, **more: Any) -> None:
    done = subprocess.run(
        command, env=ENVIRONMENT, cwd="/", capture_output=True, text=True, check=False, **as_owner(owner), **more
    )
    if done.returncode or "ERROR" in done.stderr:
        said = next((line for line in reversed(done.stderr.splitlines()) if "error" in line.lower()), "it said nothing")
        raise HeadraceError(f"the embedded PostgreSQL cannot be set up: {said}; mend: the cause, or set HEADRACE_DATABASE_URL")


def _require_version(cluster: Path) -> None:
    version = (cluster / "PG_VERSION").read_text().strip()
    if version != str(POSTGRES_MAJOR):
        raise HeadraceError(
            f"{cluster} is of PostgreSQL {version}, the programs here are {POSTGRES_MAJOR}; "
            f"mend: move it away to begin anew, or dump it with version {version} and restore"
        )


class PostmasterFile:
    """The postmaster's own word on who it is and whether it takes connections, which pg_ctl waits for too."""

    def __init__(self, cluster: Path) -> None:
        self._cluster = cluster
        self._stale = ""

    def settle(self) -> None:
        """Before a start: end a postmaster that was left behind, and see to it that a dead one's file is not in the way.

        The file of a dead one stays, because Postgres reads in it whose memory to look for: it will not start beside backends
        that outlived their postmaster. But after a crash of the machine its pid may belong to any process.
        """
        self._stale = self._text()
        try:
            pid = int(self._stale.split("\n", 1)[0])
            at_work_here = psutil.Process(pid).cwd() == str(self._cluster.resolve())
        except (ValueError, psutil.Error):
            return
        if at_work_here:  # the caller holds the data directory's lock, so nobody wants it
            kill(family(identity_of(pid)))
        else:
            self._path.unlink()

    def says_ready(self) -> bool:
        """The eighth line, once connections are accepted; not that of the one before."""
        text = self._text()
        return text != self._stale and [line.strip() for line in text.splitlines()[7:]] == ["ready"]

    @property
    def _path(self) -> Path:
        return self._cluster / "postmaster.pid"

    def _text(self) -> str:
        try:
            return self._path.read_text()
        except OSError:
            return ""
