"""Counter files of processes that ended: a bounded number, whatever happens while they are folded."""

import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from prometheus_client.mmap_dict import MmapedDict, mmap_key
from prometheus_client.multiprocess import MultiProcessCollector

from shared import metric_files

ALIVE = 1_000_000


def is_dead(pid: int) -> bool:
    return pid < ALIVE


def write(directory: Path, pid: int, amount: float) -> None:
    for kind, name in (("counter", "c_total"), ("histogram", "h_sum")):
        metric = name.partition("_")[0]
        values = MmapedDict(str(directory / f"{kind}_{pid}.db"))
        values.write_value(mmap_key(metric, name, ["queue"], ["messages"], "help"), amount, 0.0)
        values.close()


def total(directory: Path) -> dict[str, float]:
    with metric_files.held(directory, to_read=True):
        families = list(MultiProcessCollector(None, str(directory)).collect())
    return {sample.name: sample.value for family in families for sample in family.samples}


def fold(directory: Path) -> bool:
    return metric_files.fold(directory, is_dead, MmapedDict)


def test_a_thousand_replaced_children_leave_one_file_of_each_kind_and_no_count_is_lost(tmp_path: Path) -> None:
    write(tmp_path, ALIVE + 1, 0.5)
    for pid in range(1_000):
        write(tmp_path, pid, 1)
        if pid % 7 == 0:
            assert fold(tmp_path)
    assert fold(tmp_path)
    assert len(list(tmp_path.glob("*.db"))) == 4
    assert total(tmp_path)["c_total"] == 1_000.5
    assert total(tmp_path)["h_sum"] == 1_000.5


class Died(BaseException):
    """The process was killed here."""


@contextmanager
def dying_at(step: int, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    """Death before the file operation of this number."""
    done = 0

    def before(real):  # type: ignore[no-untyped-def]
        def operation(*args, **options):  # type: ignore[no-untyped-def]
            nonlocal done
            done += 1
            if done > step:
                raise Died
            return real(*args, **options)

        return operation

    with monkeypatch.context() as patched:
        for name in ("rename", "unlink"):
            patched.setattr(Path, name, before(getattr(Path, name)))
        try:
            yield
        except Died:
            return


@pytest.mark.parametrize("step", range(16))
def test_a_death_in_the_middle_of_folding_counts_nothing_twice_and_loses_nothing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, step: int
) -> None:
    for pid in range(3):
        write(tmp_path, pid, 1)
    fold(tmp_path)
    for pid in range(3, 6):
        write(tmp_path, pid, 1)
    with dying_at(step, monkeypatch):
        fold(tmp_path)
    assert fold(tmp_path)
    assert total(tmp_path) == {"c_total": 6, "h_sum": 6}
    assert sorted(file.name.partition("folded")[0] for file in tmp_path.glob("*.*")) == sorted(
        ["counter_", "histogram_", "fold.lock"]
    )


def test_a_reader_never_sees_a_count_go_back_or_leap(tmp_path: Path) -> None:
    for pid in range(30):
        write(tmp_path, pid, 1)
    seen, enough = set(), threading.Event()

    def read() -> None:
        while not enough.wait(0.002):  # a scrape holds the lock; between two there is room
            seen.add(total(tmp_path)["c_total"])

    reader = threading.Thread(target=read)
    reader.start()
    try:
        for last in range(1, 30):
            while not metric_files.fold(tmp_path, lambda pid, last=last: pid < last, MmapedDict):  # type: ignore[misc]
                enough.wait(0.001)
    finally:
        enough.set()
        reader.join()
    assert seen == {30}


def test_a_child_forked_while_the_lock_is_held_does_not_hold_it_for_ever(tmp_path: Path) -> None:
    write(tmp_path, 1, 1)
    (reading, writing), (told, telling) = os.pipe(), os.pipe()
    with metric_files.held(tmp_path, to_read=True):
        child = os.fork()
        if child == 0:
            os.write(telling, b".")
            os.read(reading, 1)
            os._exit(0)
    try:
        os.read(told, 1)  # it runs
        assert fold(tmp_path)
    finally:
        os.write(writing, b".")
        os.waitpid(child, 0)
        for each in (reading, writing, told, telling):
            os.close(each)


def test_the_processes_of_a_directory_fold_what_the_dead_left_and_drop_their_live_gauges(tmp_path: Path) -> None:
    environment = {**os.environ, "HEADRACE_METRICS_DIR": str(tmp_path)}
    leave = "from shared.metrics import *; WORKER_RECYCLES.labels('child_growth').inc(); WORKER_PSS.labels('w', 'parent').set(7)"
    for _ in range(2):
        subprocess.run([sys.executable, "-c", leave], env=environment, check=True, timeout=30)
    assert len(list(tmp_path.glob("gauge_livemostrecent_*"))) == 2
    look = "from shared import metrics; assert metrics.fold_dead_processes(); print(metrics.recycles())"
    told = subprocess.run([sys.executable, "-c", look], env=environment, check=True, timeout=30, capture_output=True, text=True)
    assert told.stdout.strip() == "{'child_growth': 2}"
    assert len(list(tmp_path.glob("counter_*"))) <= 2, "the folded one, and that of who folded"
    assert not list(tmp_path.glob("gauge_live*"))


def test_what_an_exporter_said_of_a_queue_that_its_successor_does_not_know_ends_with_it(tmp_path: Path) -> None:
    environment = {**os.environ, "HEADRACE_METRICS_DIR": str(tmp_path)}
    say = "from shared.metrics import *; DEAD_LETTERS.labels('of.another.version').set(7); EXPORTER_UP.labels('broker').set(1)"
    subprocess.run([sys.executable, "-c", say], env=environment, check=True, timeout=30)
    look = "from shared.metrics import *; fold_dead_processes(); print(exposition().decode())"
    shown = subprocess.run([sys.executable, "-c", look], env=environment, check=True, timeout=30, capture_output=True, text=True)
    assert "headrace_dead_letters{" not in shown.stdout
    assert "headrace_exporter_up{" not in shown.stdout
