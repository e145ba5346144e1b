"""A worker's log: one JSON line a batch with every id, and nothing of what the messages say."""

import json
from collections.abc import Callable
from typing import Any

from pytest_celery import CeleryTestWorker

from shared.producer import Producer
from tests.factory import message, new_account, queued, raw_queued
from tests.waiting import eventually

SECRET_TEXT = "a text that only its reader is to see"


def test_a_batch_is_one_line_that_names_it_and_shows_no_text(
    producer: Producer, start_worker: Callable[..., CeleryTestWorker]
) -> None:
    account = new_account()
    broken = raw_queued(account, {"text": SECRET_TEXT, "message_id": "m-0", "conversation_id": "c-1"})
    producer.publish([queued(account, message(f"m-{number}", text=SECRET_TEXT)) for number in range(1, 4)] + [broken])
    worker = start_worker("w1")

    def settled() -> list[dict[str, Any]]:
        lines = [json.loads(line) for line in worker.logs().splitlines() if line.startswith("{")]
        found = [line for line in lines if line["event"] == "batch settled"]
        return found if sum(line["size"] for line in found) == 4 else []

    lines = eventually("every message is in a line", settled)
    for line in lines:
        assert (line["task"], line["queue"], line["process"]) == ("messages.store", "messages", "worker")
        assert line["size"] == line.get("done", 0) + line.get("dead_letter", 0)
        assert line["seconds"] >= 0
        assert len(line["batch"]) == 36
        assert all(lane.isdigit() for lane in line["lanes"].split())
        assert "trace_id" not in line
    assert len({line["batch"] for line in lines}) == len(lines)
    assert sum(line.get("dead_letter", 0) for line in lines) == 1
    assert SECRET_TEXT not in worker.logs()
