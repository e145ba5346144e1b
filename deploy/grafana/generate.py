"""Writes dashboards/*.json from boards.py; with ``--check`` it only says whether they are current."""

import json
import sys
from pathlib import Path

from boards import BOARDS
from panel import as_json

DIRECTORY = Path(__file__).parent / "dashboards"


def main() -> int:
    """1 when ``--check`` found a file that differs."""
    files = {DIRECTORY / f"{board.name}.json": json.dumps(as_json(board), indent=1) + "\n" for board in BOARDS}
    if "--check" in sys.argv:
        stale = [path.name for path, text in files.items() if not path.exists() or path.read_text() != text]
        if stale:
            sys.stderr.write(f"{', '.join(stale)}: not as boards.py says; run `python deploy/grafana/generate.py`\n")
        return int(bool(stale))
    for path, text in files.items():
        path.write_text(text)
    return 0


if __name__ == "__main__":
    sys.exit(main())
