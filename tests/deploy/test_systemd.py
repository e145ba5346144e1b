"""The systemd units: valid to systemd, hardened as it measures, told settings that there are."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

from shared.settings import PREFIX, Settings
from tests.deploy.manifest import DEPLOY
from workers.cli.main import VERBS

UNITS = sorted((DEPLOY / "systemd").glob("*.service"))
PROGRAM = "/opt/headrace/bin/headrace"
EXPOSURE_MAX = 1.5
"""Of systemd's scale of 0 to 10; what is left is the network, which a fleet needs."""

needs_systemd = pytest.mark.skipif(not shutil.which("systemd-analyze"), reason="no systemd-analyze on this machine")


@pytest.fixture
def installed(tmp_path: Path) -> list[Path]:
    """The units as they would be on a machine: instances of the templates, a program that is there."""
    for path in [*UNITS, DEPLOY / "systemd/headrace.target"]:
        instance = tmp_path / path.name.replace("@.", "@9101.")
        instance.write_text(path.read_text().replace(PROGRAM, "/bin/true"))
    return sorted(tmp_path.iterdir())


@needs_systemd
def test_systemd_finds_no_fault(installed: list[Path]) -> None:
    found = subprocess.run(
        ["systemd-analyze", "verify", "--man=no", *installed], capture_output=True, text=True, check=False, timeout=60
    )
    ours = [line for line in found.stderr.splitlines() if "headrace" in line]
    assert (found.returncode, ours) == (0, [])


@needs_systemd
def test_no_unit_is_more_exposed_than_it_must_be(installed: list[Path]) -> None:
    for unit in (path for path in installed if path.suffix == ".service"):
        command = ["systemd-analyze", "security", "--offline=true", "--no-pager", unit]
        answer = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60).stdout
        level = re.search(r"exposure level for .*: ([\d.]+)", answer)
        assert level, answer
        assert float(level[1]) <= EXPOSURE_MAX, f"{unit.name}: {level[1]}"


@pytest.mark.parametrize("path", UNITS, ids=lambda path: path.name)
def test_each_unit_runs_a_verb_with_settings_that_there_are(path: Path) -> None:
    text = path.read_text()
    (verb,) = re.findall(rf"^ExecStart={PROGRAM} (\w+)", text, re.MULTILINE)
    assert verb in VERBS
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert set(re.findall(r"^Environment=(\w+)=", text, re.MULTILINE)) - known == set()
    assert "User=headrace" in text
    assert "MemoryMax=" in text


def test_a_stopping_process_is_given_the_time_that_it_drains() -> None:
    drain = Settings.model_fields["drain_seconds"].default
    for path in UNITS:
        for seconds in re.findall(r"^TimeoutStopSec=(\d+)s", path.read_text(), re.MULTILINE):
            assert int(seconds) >= drain + 5


def test_each_unit_reads_the_file_of_its_role_that_the_example_names() -> None:
    example = (DEPLOY / "systemd/headrace.env.example").read_text()
    for path in UNITS:
        role = re.split(r"[@.]", path.name.removeprefix("headrace-"))[0]
        read = re.findall(r"^EnvironmentFile=-?/etc/headrace/(\S+)$", path.read_text(), re.MULTILINE)
        assert read == ["headrace.env", f"{role}.env"], path.name
        assert f"{role}.env" in example
