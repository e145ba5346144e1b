"""Row 14 of the faults: the database's disk is full, its tables' or its log's; messages wait, none is blamed, none is lost."""

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
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


@contextmanager
def storing_on_a_full_disk(
    scene: Scene, disk: Disk, server: PostgresServer, what: str, *, log: Path, is_full: Callable[[PostgresServer], bool]
) -> Iterator[int]:
    """The block runs while messages come and the disk is full; then there is room again and all is settled.

    Args:
        server: not started yet.
        what: is full, for the note of the result.
        log: where its write-ahead log is to be.
        is_full: whether the server has noticed.

    Gives how many messages had been taken by then.
    """
    server.start()
    server.stop()
    move_log(server, log)
    with serving(server), scene.fleet(server) as fleet:
        flow = scene.flow(batch=50, every=0.02)
        fleet.start_together("w1")
        eventually("work is under way", lambda: stored() > 500)
        disk.fill()
        eventually("the disk is full", lambda: is_full(server), within=60)
        yield len(scene.ledger)
        disk.free()
        flow.stop()
        scene.settle(fleet)
        scene.show("14", what, 1)


def test_full_tables_are_waited_for(scene: Scene, disk: Disk) -> None:
    server = PostgresServer(disk.mounted / "primary")
    what = "disk of the tables full"
    with storing_on_a_full_disk(scene, disk, server, what, log=scene.place / "log", is_full=refuses) as held:
        eventually("messages wait", lambda: len(scene.ledger) >= held + 2_000 and stored() < len(scene.ledger) - 1_000, within=30)


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
    what = "disk of the log full, server down"
    with storing_on_a_full_disk(scene, disk, server, what, log=disk.mounted / "log", is_full=ends) as held:
        eventually("messages wait", lambda: len(scene.ledger) >= held + 2_000, within=30)
        disk.free()
        server.stop()
        server.start()


def ends(server: PostgresServer) -> bool:
    """Begin one file of the log after the other until there is no room for one."""
    try:
        for _ in range(10):
            server.execute("SELECT pg_switch_wal(), txid_current()")
    except psycopg.OperationalError:
        return True
    return False
