"""Row 14 of the faults: the database's disk is full, its tables' or its log's; messages wait, none is blamed, none is lost."""

import os
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

import psycopg
import pytest

from tests.chaos.database import Scene
from tests.chaos.form import long_form
from tests.chaos.ledger import stored
from tests.postgres_server import PostgresServer, serving
from tests.waiting import eventually

DISK_MB = 160
"""A cluster takes 40 MB, its log two or three times 16 MB."""


class Disk:
    """A small tmpfs that can be filled to its last byte."""

    def __init__(self, mounted: Path) -> None:
        self.mounted = mounted

    def fill(self) -> None:
        """Nothing more can be written."""
        with suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while True:
                ballast.write(bytes(2**16))
        with suppress(OSError), self._ballast.open("ab", buffering=0) as ballast:
            while True:
                ballast.write(bytes(512))

    def free(self) -> None:
        """There is room again."""
        self._ballast.unlink(missing_ok=True)

    @property
    def _ballast(self) -> Path:
        return self.mounted / "ballast"


@contextmanager
def small_disk(directory: Path) -> Iterator[Disk]:
    """Mounted for the length of a ``with``; skips where that is not allowed."""
    directory.mkdir()
    command = ["mount", "-t", "tmpfs", "-o", f"size={DISK_MB}m,mode=0711", "tmpfs", str(directory)]
    done = subprocess.run(command, capture_output=True, text=True, check=False) if os.geteuid() == 0 else None
    if done is None or done.returncode:
        pytest.skip(f"a small disk wants root and the right to mount: {done.stderr.strip() if done else 'not root'}")
    try:
        yield Disk(directory)
    finally:
        subprocess.run(["umount", "--lazy", str(directory)], check=True)


@pytest.fixture
def disk(scene: Scene) -> Iterator[Disk]:
    with small_disk(scene.place / "disk") as it:
        yield it


def move_log(server: PostgresServer, to: Path) -> None:
    """The write-ahead log elsewhere; the server is stopped."""
    log = server.home / "data" / "pg_wal"
    owner = log.stat()
    shutil.move(log, to)
    log.symlink_to(to)
    for each in (to, *to.rglob("*")):
        os.chown(each, owner.st_uid, owner.st_gid)


def test_full_tables_are_waited_for(scene: Scene, disk: Disk) -> None:
    server = PostgresServer(disk.mounted / "primary")
    server.start()
    server.stop()
    move_log(server, scene.place / "log")
    with serving(server), scene.fleet(server) as fleet:
        flow = scene.flow(batch=50, every=0.02)
        fleet.start_together("w1")
        eventually("work is under way", lambda: stored() > 500)
        disk.fill()
        eventually("nothing can be written", lambda: refuses(server))
        held = len(scene.ledger)
        eventually("messages wait", lambda: len(scene.ledger) >= held + 2_000 and stored() < len(scene.ledger) - 1_000, within=30)
        disk.free()
        flow.stop()
        scene.settle(fleet)
        scene.show("14", "disk of the tables full", 1)


def refuses(server: PostgresServer) -> bool:
    """Whether the server cannot add to a table."""
    try:
        server.execute("CREATE TABLE filler AS SELECT repeat('x', 1000) FROM generate_series(1, 1000)")
    except psycopg.errors.DiskFull:
        return True
    server.execute("DROP TABLE filler")
    return False


@long_form
def test_a_full_log_takes_the_server_down_and_costs_no_message(scene: Scene, disk: Disk) -> None:
    """PostgreSQL ends itself then, and comes back once there is room and somebody starts it."""
    server = PostgresServer(scene.place / "primary")
    server.start()
    server.stop()
    move_log(server, disk.mounted / "log")
    with serving(server), scene.fleet(server) as fleet:
        flow = scene.flow(batch=50, every=0.02)
        fleet.start_together("w1")
        eventually("work is under way", lambda: stored() > 500)
        disk.fill()
        eventually("it is down", lambda: ends(server), within=60)
        held = len(scene.ledger)
        eventually("messages wait", lambda: len(scene.ledger) >= held + 2_000, within=30)
        disk.free()
        server.stop()
        server.start()
        flow.stop()
        scene.settle(fleet)
        scene.show("14", "disk of the log full, server down", 1)


def ends(server: PostgresServer) -> bool:
    """Begin one file of the log after the other until there is no room for one."""
    try:
        for _ in range(10):
            server.execute("SELECT pg_switch_wal(), txid_current()")
    except psycopg.OperationalError:
        return True
    return False
