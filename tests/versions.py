"""Two versions of Headrace side by side: trees of source, and processes that run one of them."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

from shared.settings import PREFIX
from tests.nodes import ProcessContainer

ROOT = Path(__file__).parents[1]
PARTS = ("shared", "tasks", "workers", "loadgen")

EARLIER = "6f957c9"
"""A commit before the first release that knew of upgrades."""

MIGRATION = '''"""The next version's: adds a column, a table and an index."""

from alembic import op

revision = "9999"
down_revision = "{newest}"


def upgrade() -> None:
    op.execute("ALTER TABLE messages ADD COLUMN next_kind text, ADD COLUMN next_count int NOT NULL DEFAULT 0")
    op.execute("CREATE TABLE next_things (id bigint PRIMARY KEY, kind text NOT NULL)")
    op.execute("CREATE INDEX messages_next_kind ON messages (next_kind)")
'''


def newer_tree(directory: Path) -> Path:
    """A next version: this one with a migration, a header and a field of the message that this one does not know, and another
    script for an ack."""
    for part in PARTS:
        shutil.copytree(ROOT / part, directory / part, ignore=shutil.ignore_patterns("__pycache__"))
    shutil.copy(ROOT / "celeryconfig.py", directory)
    versions = directory / "shared" / "db" / "migrations" / "versions"
    newest = max(file.stem.partition("_")[0] for file in versions.glob("[0-9]*.py"))
    (versions / "9999_next.py").write_text(MIGRATION.format(newest=newest))
    _replace(
        directory / "shared/envelope.py", '"origin": "headrace",', '"origin": "headrace", "headrace_next": {"hint": [1, 2]},'
    )
    _replace(
        directory / "shared/message.py",
        "    return msgspec.json.encode(\n        QueuedMessage(",
        '    return b\'{"next_field":{"a":1},\' + msgspec.json.encode(\n        QueuedMessage(',
    )
    _replace(
        directory / "shared/message.py",
        "account_id=account_id,\n        )\n    )",
        "account_id=account_id,\n        )\n    )[1:]",
    )
    script = directory / "shared/broker/scripts/ack.lua"
    script.write_text(script.read_text().replace("return settled", "redis.call('DEL', 'headrace:next')\nreturn settled"))
    return directory


def earlier_tree(directory: Path) -> Path | None:
    """The source of EARLIER; None where the repository's history is not at hand."""
    archive = subprocess.run(["git", "-C", ROOT, "archive", EARLIER], capture_output=True, check=False)
    if archive.returncode:
        return None
    subprocess.run(["tar", "-x", "-C", directory], input=archive.stdout, check=True)
    return directory


def _replace(file: Path, old: str, new: str) -> None:
    text = file.read_text()
    assert old in text, f"{file} has changed; say anew what the next version writes otherwise"
    file.write_text(text.replace(old, new))


class OfVersion(ProcessContainer):
    """A process of the source in ``tree``.

    Args:
        tree: its working directory, from which Python imports before anything that is installed.
        verb: `worker` or `ingress`.
    """

    def __init__(self, name: str, tree: Path, verb: str, environment: dict[str, str]) -> None:
        super().__init__(name, environment)
        self._tree, self._verb = tree, verb

    def command(self) -> list[str]:
        words = ["--name", self.name] if self._verb == "worker" else []
        return [sys.executable, "-m", "workers.cli.main", self._verb, *words]

    def start(self) -> None:
        self._ready_file.unlink(missing_ok=True)
        with self._log.open("ab") as log:
            self.process = subprocess.Popen(
                self.command(), cwd=self._tree, env=self._environment, stdout=log, stderr=log, start_new_session=True
            )

    def drain(self) -> None:
        """SIGTERM, and a clean end."""
        self.kill("SIGTERM")
        assert self.wait(20) == 0, self.logs()[-3000:]


def run_verb(tree: Path, environment: dict[str, str], *words: str) -> str:
    """What ``headrace WORDS`` of ``tree`` prints."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith(PREFIX)}
    command = [sys.executable, "-m", "workers.cli.main", *words]
    ended = subprocess.run(
        command, cwd=tree, env={**clean, **environment}, capture_output=True, text=True, check=False, timeout=60
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout
