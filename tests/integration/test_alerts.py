"""The alerts: valid, each with a case in which it fires, one in which it does not, and a page that says what to do."""

import re
import shutil
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
PROMETHEUS = ROOT / "deploy" / "prometheus"
RULES = sorted((PROMETHEUS / "rules").glob("*.yml"))
CASES = sorted((PROMETHEUS / "tests").glob("*.yml"))
RUNBOOK = (ROOT / "docs" / "runbook.md").read_text()
ALERTS = re.findall(r"- alert: (\w+)", (PROMETHEUS / "rules" / "alerts.yml").read_text())
PARTS = ("Means", "Confirm", "Do", "Over when")

PROMTOOL = shutil.which("promtool")
needs_promtool = pytest.mark.skipif(PROMTOOL is None, reason="no promtool on PATH: install the package `prometheus`")


def promtool(*words: object) -> subprocess.CompletedProcess[str]:
    assert PROMTOOL
    return subprocess.run([PROMTOOL, *map(str, words)], capture_output=True, text=True, check=False, timeout=120)


def blocks(text: str, start: str) -> dict[str, str]:
    """Name -> what stands below it, for each line that matches ``start``, a pattern with one group."""
    parts = re.split(start, text, flags=re.MULTILINE)
    return dict(zip(parts[1::2], parts[2::2], strict=True))


@needs_promtool
def test_rules_and_configuration_are_valid() -> None:
    configurations = (PROMETHEUS / "prometheus.yml", PROMETHEUS / "compose.yml")
    for words in (("check", "rules", *RULES), *(("check", "config", each) for each in configurations)):
        ended = promtool(*words)
        assert ended.returncode == 0, ended.stdout + ended.stderr


@needs_promtool
@pytest.mark.parametrize("cases", CASES, ids=lambda path: path.stem)
def test_alerts_fire_when_they_should_and_are_quiet_when_they_should(cases: Path) -> None:
    ended = promtool("test", "rules", cases)
    assert ended.returncode == 0, ended.stdout + ended.stderr


def test_every_alert_has_a_case_that_fires_and_one_that_does_not() -> None:
    fires, quiet = [], []
    for path in CASES:
        for name, body in blocks(path.read_text(), r"^  - name: '(\w+ \w+)").items():
            alert, kind = name.split()
            assert f"alertname: {alert}\n" in body, name
            assert ("exp_alerts: []" in body) == (kind == "quiet"), name
            (quiet if kind == "quiet" else fires).append(alert)
    assert sorted(fires) == sorted(quiet) == sorted(ALERTS)


def test_every_alert_says_how_urgent_it_is_and_what_to_read() -> None:
    for alert, body in blocks((PROMETHEUS / "rules" / "alerts.yml").read_text(), r"- alert: (\w+)").items():
        assert re.search(r"labels: \{severity: (page|ticket)\}", body), alert
        assert f"runbook_url: docs/runbook.md#{alert.lower()}\n" in body + "\n", alert
        assert "summary: " in body, alert


def test_the_runbook_has_a_whole_entry_for_every_alert_and_none_for_others() -> None:
    entries = blocks(RUNBOOK, r"^### (\w+)$")
    assert sorted(entries) == sorted(ALERTS)
    severities = dict(re.findall(r"- alert: (\w+)(?:.|\n)*?severity: (\w+)", (PROMETHEUS / "rules" / "alerts.yml").read_text()))
    for alert, body in entries.items():
        assert [part for part in PARTS if not re.search(rf"^- \*\*{part}:\*\* \S", body, re.MULTILINE)] == [], alert
        assert f"*{severities[alert]}*" in body, alert


def test_every_link_within_the_runbook_leads_somewhere() -> None:
    anchors = {line.removeprefix("#").strip("# ").lower() for line in RUNBOOK.splitlines() if line.startswith("#")}
    assert set(re.findall(r"\]\(#([\w-]+)\)", RUNBOOK)) - anchors == set()
