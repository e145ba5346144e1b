"""`headrace queue` against a real broker."""

import pytest
import redis

from shared.broker.claims import Claims
from shared.producer import Producer
from shared.topology import all_queues, lane_of, lane_queue, queues_of
from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.factory import message, queued


@pytest.fixture
def headrace(clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_every_queue_is_listed_with_what_waits_in_it(headrace: CommandLine, clean: RunningStack) -> None:
    Producer(clean.broker_url).publish([queued("a", message("m-1")), queued("a", message("m-2"))])
    listed = {entry["name"]: entry for entry in headrace("queue", "list", "--json").json}
    assert list(listed) == all_queues(32)
    lane = lane_queue("messages", lane_of("a", "c-1"))
    assert listed[lane]["depth"] == 2
    assert listed[lane]["oldest_age_seconds"] >= 0
    assert listed["webhooks.00"] == {
        "name": "webhooks.00",
        "depth": 0,
        "in_flight": 0,
        "oldest_age_seconds": None,
        "paused": False,
    }


def test_pausing_is_remembered_by_the_broker_until_it_is_resumed(headrace: CommandLine, clean: RunningStack) -> None:
    with redis.Redis.from_url(clean.broker_url) as broker:
        assert headrace("queue", "pause", "messages").code == 0
        assert headrace("queue", "pause", "messages").code == 0
        assert Claims(broker).paused() == set(queues_of("messages", 32))
        assert headrace("queue", "resume", "messages").code == 0
        assert Claims(broker).paused() == set()
        assert headrace("queue", "pause", "webhooks.07").code == 0
        assert [entry["name"] for entry in headrace("queue", "list", "--json").json if entry["paused"]] == ["webhooks.07"]


def test_an_unknown_queue_is_refused_and_the_near_one_named(headrace: CommandLine, clean: RunningStack) -> None:
    for verb in ("pause", "resume"):
        ended = headrace("queue", verb, "mesages")
        assert ended.code == 1
        assert "did you mean 'messages'?" in ended.err
    with redis.Redis.from_url(clean.broker_url) as broker:
        assert Claims(broker).paused() == set()
