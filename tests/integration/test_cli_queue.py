"""`headrace queue` against a real broker."""

import pytest
import redis

from shared.pause import paused
from shared.producer import Producer
from shared.topology import QUEUES
from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.factory import message, queued


@pytest.fixture
def headrace(clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_every_queue_is_listed_with_what_waits_in_it(headrace: CommandLine, clean: RunningStack) -> None:
    Producer(clean.broker_url).publish([queued("a", message("m-1")), queued("a", message("m-2"))])
    listed = {entry["name"]: entry for entry in headrace("queue", "list", "--json").json}
    assert set(listed) == set(QUEUES)
    assert listed["messages"]["depth"] == 2
    assert listed["messages"]["oldest_age_seconds"] >= 0
    assert listed["webhooks"] == {"name": "webhooks", "depth": 0, "in_flight": 0, "oldest_age_seconds": None, "paused": False}


def test_pausing_is_remembered_by_the_broker_until_it_is_resumed(headrace: CommandLine, clean: RunningStack) -> None:
    with redis.Redis.from_url(clean.broker_url) as broker:
        assert headrace("queue", "pause", "messages").code == 0
        assert headrace("queue", "pause", "messages").code == 0
        assert paused(broker) == {"messages"}
        assert [entry["name"] for entry in headrace("queue", "list", "--json").json if entry["paused"]] == ["messages"]
        assert headrace("queue", "resume", "messages").code == 0
        assert paused(broker) == frozenset()


def test_an_unknown_queue_is_refused_and_the_near_one_named(headrace: CommandLine, clean: RunningStack) -> None:
    for verb in ("pause", "resume"):
        ended = headrace("queue", verb, "mesages")
        assert ended.code == 1
        assert "did you mean 'messages'?" in ended.err
    with redis.Redis.from_url(clean.broker_url) as broker:
        assert paused(broker) == frozenset()
