"""The real Prometheus over a fleet, looking every second, with our rules; and the queries of our dashboards and alerts."""

import json
import math
import re
import shutil
import signal
import subprocess
import tempfile
import urllib.parse
import urllib.request
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from tests.waiting import eventually
from workers.local import ports

ROOT = Path(__file__).parents[1]
RULES = ROOT / "deploy" / "prometheus" / "rules"
DASHBOARDS = ROOT / "deploy" / "grafana" / "dashboards"
BINARY = shutil.which("prometheus")
RATE_SECONDS = 20
"""What stands for Grafana's `$__rate_interval`: some twenty looks."""

COMPARISON = re.compile(r" (>=|<=|==|!=|>|<) ")
"""In PromQL as Prometheus prints it; a label's matcher has no blanks."""

Series = dict[str, Any]


class Prometheus:
    """One that runs."""

    def __init__(self, url: str) -> None:
        self.url = url

    def ask(self, path: str, **parameters: object) -> Any:
        """Its API's answer."""
        query = urllib.parse.urlencode(parameters)
        with urllib.request.urlopen(f"{self.url}/api/v1/{path}?{query}", timeout=30) as answer:
            return json.load(answer)["data"]

    def ready(self) -> bool:
        """It answers."""
        try:
            return urllib.request.urlopen(f"{self.url}/-/ready", timeout=5).status == 200
        except OSError:
            return False

    def values(self, query: str) -> list[float]:
        """Of each series of the answer that has a number now."""
        found = [float(series["value"][1]) for series in self.ask("query", query=query)["result"]]
        return [value for value in found if not math.isnan(value)]

    def between(self, query: str, start: float, end: float, step: float) -> list[Series]:
        """Each series over time."""
        found: list[Series] = self.ask("query_range", query=query, start=start, end=end, step=step)["result"]
        return found

    def alerts(self) -> dict[str, str]:
        """Alert -> its expression."""
        groups = self.ask("rules", type="alert")["groups"]
        return {rule["name"]: rule["query"] for group in groups for rule in group["rules"]}

    def broken(self) -> list[str]:
        """Rules that cannot be evaluated."""
        groups = self.ask("rules")["groups"]
        return [f"{rule['name']}: {rule['lastError']}" for group in groups for rule in group["rules"] if rule.get("lastError")]


class Query(NamedTuple):
    """A panel's or an alert's; ``name`` is for people."""

    name: str
    text: str


def panels() -> list[Query]:
    """Every query of every panel."""
    boards = [json.loads(path.read_text()) for path in sorted(DASHBOARDS.glob("*.json"))]
    return [
        Query(f"{board['title']}: {panel['title']}: {target['legendFormat']}", ready(target["expr"]))
        for board in boards
        for panel in board["panels"]
        for target in panel["targets"]
    ]


def ready(text: str) -> str:
    """A dashboard's query without Grafana's variables."""
    return text.replace("$__rate_interval", f"{RATE_SECONDS}s")


def answering(alert: str) -> str:
    """An alert's expression such that it is 0 or 1 where it would be nothing or something: it then returns data when every part
    of it does."""
    return COMPARISON.sub(r" \1 bool ", alert)


@contextmanager
def watching(exporter: int, ingress: int) -> Iterator[Prometheus]:
    """A Prometheus on a free port, with a directory of its own, over the two ports; gone at the end."""
    assert BINARY
    with tempfile.TemporaryDirectory(prefix="headrace-prometheus-") as name:
        directory = Path(name)
        (directory / "rules").mkdir()
        for path in RULES.glob("*.yml"):
            text = re.sub(r"^    interval: .*$", "    interval: 1s", path.read_text(), flags=re.MULTILINE)
            (directory / "rules" / path.name).write_text(text)
        (directory / "prometheus.yml").write_text(_configuration(exporter, ingress))
        url = f"127.0.0.1:{ports.choose(0)}"
        options = ("--config.file=prometheus.yml", "--storage.tsdb.path=data", f"--web.listen-address={url}")
        with (directory / "log").open("wb") as log:
            process = subprocess.Popen([BINARY, *options], cwd=directory, stdout=log, stderr=log)
        try:
            it = Prometheus(f"http://{url}")
            eventually("Prometheus is ready", it.ready, within=30)
            yield it
        finally:
            process.send_signal(signal.SIGTERM)
            process.wait(20)


def _configuration(exporter: int, ingress: int) -> str:
    """As deploy/prometheus/prometheus.yml, but quicker."""
    return f"""
global: {{scrape_interval: 1s, evaluation_interval: 1s}}
rule_files: [rules/*.yml]
scrape_configs:
  - job_name: headrace
    static_configs: [{{targets: ["127.0.0.1:{exporter}"]}}]
  - job_name: headrace-ingress
    static_configs: [{{targets: ["127.0.0.1:{ingress}"]}}]
    metric_relabel_configs: [{{action: drop, source_labels: [__name__], regex: headrace_.*}}]
"""
