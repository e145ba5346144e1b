"""Logs: JSON for machines, text for people, ids in every line, and an outage that does not fill the disk."""

import json
import os
import subprocess
import sys

from shared.log_repeats import BURST, WINDOW_SECONDS, Repeats

PROGRAM = """
import logging
from shared import log
log.configure("tester")
logger = log.get_logger("a.module")
with log.bound(batch="b-1", trace_id=""):
    logger.info("settled", size=3)
for number in range(50):
    logger.warning("dependency out", number=number)
    logging.getLogger("a.library").warning("cannot reach %s", number)
for number in range(10):
    logger.info("settled", size=number)
"""


def printed(log_format: str) -> list[str]:
    environment = {**os.environ, "HEADRACE_LOG_FORMAT": log_format}
    ended = subprocess.run([sys.executable, "-c", PROGRAM], env=environment, capture_output=True, text=True, check=True)
    return ended.stderr.splitlines()


def test_a_file_gets_one_json_object_a_line_with_every_id_bound() -> None:
    lines = [json.loads(line) for line in printed("auto")]
    first = lines[0]
    assert (first["event"], first["size"], first["batch"]) == ("settled", 3, "b-1")
    assert (first["process"], first["logger"], first["level"]) == ("tester", "a.module", "info")
    assert first["pid"] > 0
    assert first["timestamp"].endswith("Z")
    assert "trace_id" not in first
    assert "batch" not in lines[-1]


def test_repeats_are_dropped_and_lines_of_single_batches_are_not() -> None:
    lines = [json.loads(line) for line in printed("json")]
    assert sum(line["event"] == "dependency out" for line in lines) == BURST
    assert sum(line["event"].startswith("cannot reach") for line in lines) == BURST
    assert sum(line["event"] == "settled" for line in lines) == 11


def test_a_terminal_gets_text() -> None:
    first = printed("text")[0]
    assert "settled" in first
    assert "size=3" in first
    assert not first.startswith("{")


def test_the_next_window_says_how_many_were_dropped() -> None:
    repeats, event = Repeats(), ("a", "b")
    assert [repeats.admit(event, 0.1 * number) for number in range(BURST + 7)] == [0] * BURST + [None] * 7
    assert repeats.admit(("a", "another"), 2.0) == 0
    assert repeats.admit(event, WINDOW_SECONDS + 1) == 7
    assert repeats.admit(event, WINDOW_SECONDS + 2) == 0
    assert repeats.admit(event, 5 * WINDOW_SECONDS) == 0
