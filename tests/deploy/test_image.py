"""The image: what its Dockerfile says. It is built where there is a container engine; here its rules are checked."""

import http.server
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from shared.settings import PREFIX, Settings
from tests.deploy.manifest import DEPLOY

ROOT = DEPLOY.parent
DOCKERFILE = DEPLOY / "Dockerfile"
HADOLINT = shutil.which("hadolint", path=str(Path(sys.executable).parent))


def stages() -> list[str]:
    """The text of each, comments gone, continued lines joined."""
    text = re.sub(r"^#.*\n", "", DOCKERFILE.read_text(), flags=re.MULTILINE).replace("\\\n", " ")
    return re.split(r"^FROM ", text, flags=re.MULTILINE)[1:]


@pytest.mark.skipif(not HADOLINT, reason="no hadolint for this platform")
def test_hadolint_finds_nothing() -> None:
    assert HADOLINT
    found = subprocess.run([HADOLINT, DOCKERFILE], capture_output=True, text=True, check=False, timeout=60)
    assert found.returncode == 0, found.stdout


def test_the_final_image_is_not_roots_and_builds_nothing() -> None:
    _, final = stages()
    assert "\nUSER 10001:10001\n" in final
    assert not re.search(r"\b(apt-get|gcc|build-essential|pip|uv) ", final)
    assert "HEALTHCHECK" in final
    assert 'CMD ["livez"]' in final


def test_every_package_is_installed_by_its_hash_from_the_lock() -> None:
    build, _ = stages()
    assert build.count("--require-hashes -r requirements/") == 2
    assert "requirements/runtime.txt" in build
    others = [line for line in re.findall(r"(?:pip|uv pip) (?:install|wheel) [^&\n]*", build) if "--require-hashes" not in line]
    assert all("--no-deps" in line for line in others), others


def test_the_build_sees_what_it_copies_and_no_more() -> None:
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.*)", "\n".join(stages()), re.MULTILINE) for word in line.split()[:-1]
    }
    copied = {word for word in copied if not word.startswith("--")}
    allowed = {line[1:] for line in (DEPLOY / "Dockerfile.dockerignore").read_text().splitlines() if line.startswith("!")}
    assert copied == allowed
    assert all((ROOT / path).exists() for path in copied)


def test_the_image_sets_settings_that_there_are() -> None:
    known = {PREFIX + field.upper() for field in Settings.model_fields}
    assert set(re.findall(r"(HEADRACE_\w+)=", stages()[1])) - known == set()


@pytest.fixture
def port() -> Iterator[int]:
    """Of a server that is alive at /livez alone."""

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200 if self.path == "/livez" else 503)
            self.end_headers()

        def log_message(self, *args: object) -> None:
            """Quiet."""

    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        threading.Thread(target=server.serve_forever, daemon=True).start()
        yield server.server_address[1]
        server.shutdown()


@pytest.mark.parametrize(("path", "code"), [("/livez", 0), ("/readyz", 1)])
def test_the_health_check_tells_alive_from_not(port: int, path: str, code: int) -> None:
    command = [sys.executable, "-IS", DEPLOY / "livez.py"]
    environment = {"HEADRACE_LIVEZ": f"http://127.0.0.1:{port}{path}"}
    assert subprocess.run(command, env=environment, check=False, timeout=20, stderr=subprocess.DEVNULL).returncode == code


def test_nobody_there_is_not_alive() -> None:
    environment = {"HEADRACE_LIVEZ": "http://127.0.0.1:1/livez"}
    done = subprocess.run(
        [sys.executable, "-IS", DEPLOY / "livez.py"], env=environment, check=False, timeout=20, capture_output=True, text=True
    )
    assert done.returncode == 1
    assert "127.0.0.1:1/livez" in done.stderr
