"""`python -m tests.pictures`: the pictures in docs/. The dashboards are drawn from what the real Prometheus saw of a fleet under
load; Flower is photographed in a real browser meanwhile.

Takes about four minutes: a fleet of two workers in a new directory, webhooks, API and stock Celery clients at changing rates, and
on the way a worker that is killed and a queue that is paused for a while, so that there is something to see.
"""

import argparse
import json
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from urllib.parse import urlsplit

from tests.browser import CHROMIUM, Browser
from tests.conftest import free_ports
from tests.integration.test_up_down import Fleet, environment
from tests.pictures.drawing import Line, Picture, draw
from tests.prometheus import DASHBOARDS, Prometheus, ready, watching
from tests.waiting import eventually

POINTS = 150
"""Of a line: one for each two pixels of a narrow panel, about."""
STAGES = ((100, 0.3), (250, 0.4), (150, 0.3))
"""Messages a second of each way in, and its share of the time."""


def main() -> int:
    """Write docs/dashboards/*.svg and docs/flower.png."""
    options = _options()
    with tempfile.TemporaryDirectory(prefix="headrace-", ignore_cleanup_errors=True) as name:
        Path(name).chmod(0o711)  # as root, Postgres runs under another uid
        fleet = Fleet(Path(name) / "fleet", free_ports())
        try:
            ended = fleet.up("--workers", "2")
            if ended.returncode:
                sys.exit(ended.stderr)
            with watching(fleet.port + 1, fleet.port) as prometheus:
                started = time.time()
                _load(fleet, options.seconds, options.to.parent / "flower.png")
                _draw_all(prometheus, started, time.time(), options.to)
        finally:
            fleet.headrace("down")
    return 0


def _load(fleet: Fleet, seconds: float, flower: Path) -> None:
    for number, (rate, share) in enumerate(STAGES):
        words = ("load", "run", "--rate", str(rate), "--duration", str(round(seconds * share)))
        here = environment({"HEADRACE_DATA_DIR": str(fleet.data_dir)})
        loads = [
            subprocess.Popen(
                [sys.executable, "-m", "workers.cli.main", *words, "--via", via], env=here, stdout=subprocess.DEVNULL
            )
            for via in ("webhook", "api", "celery")
        ]
        if number == 1:
            _disturb(fleet)
        if number == len(STAGES) - 1 and CHROMIUM:
            _photograph(fleet, flower)
        for load in loads:
            load.wait(600)


def _disturb(fleet: Fleet) -> None:
    """Kill a worker, and pause the queue of messages for ten seconds."""
    worker = next(each for each in fleet.status()["processes"] if each["name"] == "worker-2")
    os.kill(worker["pid"], signal.SIGKILL)
    here = environment({"HEADRACE_DATA_DIR": str(fleet.data_dir)})
    for verb in ("pause", "resume"):
        subprocess.run([sys.executable, "-m", "workers.cli.main", "queue", verb, "messages"], env=here, check=True)
        until = time.monotonic() + (10 if verb == "pause" else 0)
        eventually("the pause is over", lambda until=until: time.monotonic() >= until, within=30)


def _photograph(fleet: Fleet, to: Path) -> None:
    """The page of batches, while there are some."""
    status = fleet.status()
    with tempfile.TemporaryDirectory(prefix="headrace-browser-", ignore_cleanup_errors=True) as profiles:
        browser = Browser(urlsplit(status["flower_url"]).netloc, status["flower_password"], Path(profiles))
        eventually("batches are listed", lambda: "messages.store" in browser.text("tasks"), within=60, every=1)
        browser.picture("tasks", to)
    sys.stderr.write(f"{to}\n")


def _draw_all(prometheus: Prometheus, start: float, end: float, to: Path) -> None:
    step = max(1.0, (end - start) / POINTS)
    to.mkdir(parents=True, exist_ok=True)
    for path in sorted(DASHBOARDS.glob("*.json")):
        board = json.loads(path.read_text())
        pictures = [Picture(panel, _lines(prometheus, panel, start, end, step)) for panel in board["panels"]]
        (to / f"{path.stem}.svg").write_text(draw(board["title"], pictures, start, end, step))
        sys.stderr.write(f"{to / path.stem}.svg\n")


def _lines(prometheus: Prometheus, panel: dict[str, object], start: float, end: float, step: float) -> list[Line]:
    lines = []
    for target in panel["targets"]:  # type: ignore[attr-defined]
        for series in prometheus.between(ready(target["expr"]), start, end, step):
            values = [(float(seconds), float(value)) for seconds, value in series["values"]]
            legend = re.sub(r"\{\{(\w+)\}\}", lambda label, it=series["metric"]: it.get(label[1], ""), target["legendFormat"])
            lines.append(Line(legend.strip() or "none", [(seconds, value) for seconds, value in values if not math.isnan(value)]))
    return sorted((line for line in lines if line.points), key=lambda line: -max(value for _, value in line.points))


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.pictures", description=__doc__)
    parser.add_argument("--seconds", type=float, default=180, help="of load; default 180")
    parser.add_argument(
        "--to", type=Path, default=Path(__file__).parents[2] / "docs" / "dashboards", help="directory of the SVGs"
    )
    return parser.parse_args()


if __name__ == "__main__":
    sys.exit(main())
