"""The compose file: valid to the specification, and what it names is there. The images themselves are not run here."""

import json
import re
import shutil
import subprocess
from pathlib import Path

import jsonschema
import pytest
import yaml
from check_jsonschema.builtin_schemas import get_builtin_schema

from shared.settings import PREFIX, Settings
from tests.deploy.manifest import COMPOSE, DEPLOY, services
from workers.cli.main import VERBS

SECRETS = DEPLOY / "secrets.sh"
NOT_SETTINGS = {"HEADRACE_LIVEZ"}
"""The image's own variable."""


@pytest.fixture
def environment(tmp_path: Path) -> Path:
    """What an operator makes once."""
    path = tmp_path / "env"
    path.write_text(subprocess.run(["sh", SECRETS], capture_output=True, text=True, check=True).stdout)
    return path


def ours() -> dict[str, list[str]]:
    """Services that run the image, and their arguments."""
    return {name: each["command"] for name, each in services().items() if each["image"].startswith("headrace:")}


def test_the_file_is_valid_to_the_compose_specification() -> None:
    jsonschema.validate(yaml.safe_load(COMPOSE.read_text()), get_builtin_schema("vendor.compose-spec"))


@pytest.mark.skipif(
    not shutil.which("docker-compose"), reason="no docker-compose; `docker compose config` is for where there is one"
)
def test_compose_itself_reads_it(environment: Path) -> None:
    command = ["docker-compose", "--env-file", str(environment), "-f", str(COMPOSE), "config", "--format", "json"]
    answer = subprocess.run(command, capture_output=True, text=True, check=True, timeout=60).stdout
    assert json.loads(answer)["services"].keys() <= services().keys()


def test_every_password_that_is_asked_for_is_made_by_the_script(environment: Path) -> None:
    lines = dict(line.split("=", 1) for line in environment.read_text().splitlines())
    asked = set(re.findall(r"\$\{(\w+):\?", COMPOSE.read_text()))
    assert asked <= lines.keys()
    assert all(re.fullmatch(r"[0-9a-f]{48}", value) for value in lines.values())
    assert len(set(lines.values())) == len(lines)


def test_every_file_that_is_mounted_is_there() -> None:
    mounts = [mount.split(":")[0] for each in services().values() for mount in each.get("volumes", [])]
    files = [mount for mount in mounts if mount.startswith("./")]
    assert files
    assert [mount for mount in files if not (DEPLOY / mount).exists()] == []


def test_every_process_is_a_verb_with_settings_that_there_are() -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields} | NOT_SETTINGS
    for name, command in ours().items():
        assert command[0] in VERBS, name
        assert services()[name]["environment"].keys() - known == set(), name


def test_no_container_of_ours_can_write_to_its_image_or_gain_a_right() -> None:
    for name in ours():
        service = services()[name]
        assert service["read_only"]
        assert service["cap_drop"] == ["ALL"]
        assert service["security_opt"] == ["no-new-privileges:true"]
        assert [mount.split(":")[0] for mount in service["tmpfs"]] == ["/tmp", "/run/headrace", "/run/metrics"]


def test_only_the_edge_is_reachable_from_other_machines() -> None:
    published = {name: each["ports"] for name, each in services().items() if "ports" in each}
    assert published.pop("haproxy") == ["8080:8080"]
    assert all(port.startswith("127.0.0.1:") for ports in published.values() for port in ports)


def test_every_server_is_asked_for_its_health_before_a_process_starts() -> None:
    for name in ours().keys() - {"migrate"}:
        for server in services()[name]["depends_on"]:
            if server != "migrate":
                assert services()[server]["healthcheck"]["test"], f"{name} waits for {server}"
