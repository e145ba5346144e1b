"""Where the container's memory limit stands, in file trees as the kernel shows them."""

from pathlib import Path

import pytest

from workers.memory.container import Container, limited, nearest

MB = 2**20


class Tree:
    """A cgroup file system on disk."""

    def __init__(self, directory: Path) -> None:
        self.root = directory / "cgroup"
        self._membership = directory / "membership"
        self.root.mkdir()

    def put(self, where: str, **files: object) -> None:
        level = self.root / where
        level.mkdir(parents=True, exist_ok=True)
        for name, value in files.items():
            (level / name.replace("memory_", "memory.")).write_text(f"{value}\n")

    def nearest(self, membership: str) -> Container | None:
        self._membership.write_text(membership)
        return nearest(limited(self.root, self._membership))


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    return Tree(tmp_path)


def test_version_2_tells_limit_and_use_without_the_file_cache_that_can_be_dropped(tree: Tree) -> None:
    stat = f"anon {90 * MB}\nfile {40 * MB}\ninactive_file {30 * MB}\nactive_file 1"
    tree.put("app", memory_max=200 * MB, memory_current=130 * MB, memory_stat=stat)
    assert tree.nearest("0::/app\n") == Container(200 * MB, 100 * MB)


def test_a_limit_above_us_counts_and_of_several_the_nearest(tree: Tree) -> None:
    tree.put("pod", memory_max=100 * MB, memory_current=90 * MB, memory_stat="")
    tree.put("pod/app", memory_max=200 * MB, memory_current=80 * MB, memory_stat="")
    assert tree.nearest("0::/pod/app\n") == Container(100 * MB, 90 * MB)
    tree.put("pod/app", memory_max="max", memory_current=80 * MB, memory_stat="")
    assert tree.nearest("0::/pod/app\n") == Container(100 * MB, 90 * MB)


def test_no_limit_is_none(tree: Tree) -> None:
    tree.put("app", memory_max="max", memory_current=80 * MB, memory_stat="")
    assert tree.nearest("0::/app\n") is None
    assert tree.nearest("") is None
    assert tree.nearest("garbage\n0::\n") is None


def test_a_container_that_sees_its_own_level_as_the_root_is_read_there(tree: Tree) -> None:
    tree.put("", memory_max=100 * MB, memory_current=50 * MB, memory_stat="")
    assert tree.nearest("0::/\n") == Container(100 * MB, 50 * MB)
    assert tree.nearest("0::/docker/0123abc\n") == Container(100 * MB, 50 * MB), "the host's name of it"
    assert tree.nearest("0::/../../elsewhere\n") == Container(100 * MB, 50 * MB)


def test_version_1_is_read_where_its_memory_controller_is_mounted(tree: Tree) -> None:
    stat = f"cache 1\ninactive_file 1\ntotal_inactive_file {10 * MB}"
    files = {"memory_limit_in_bytes": 100 * MB, "memory_usage_in_bytes": 60 * MB, "memory_stat": stat}
    tree.put("memory/app", **files)
    tree.put("memory", memory_limit_in_bytes=9223372036854771712, memory_usage_in_bytes=1, memory_stat="")
    assert tree.nearest("9:pids:/app\n4:memory:/app\n0::/\n") == Container(100 * MB, 50 * MB)


def test_a_file_that_vanishes_or_holds_nonsense_is_no_limit(tree: Tree) -> None:
    tree.put("app", memory_max="abc", memory_current=1)
    assert tree.nearest("0::/app\n") is None
    tree.put("app", memory_max=5 * MB, memory_current="")
    assert tree.nearest("0::/app\n") is None


def test_a_level_that_goes_away_between_two_looks_is_left_out(tree: Tree) -> None:
    tree.put("app", memory_max=200 * MB, memory_current=100 * MB, memory_stat="inactive_file 0")
    (tree.root.parent / "membership").write_text("0::/app\n")
    levels = limited(tree.root, tree.root.parent / "membership")
    (tree.root / "app/memory.current").unlink()
    assert nearest(levels) is None
