"""`headrace broker`: from the command line to the broker."""

import pytest
import redis

from shared.broker import keys
from shared.broker.claims import Claims
from tests.command_line import CommandLine
from tests.conftest import RunningStack

LANE = "messages.00"


@pytest.fixture
def headrace(clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


def test_export_puts_claimed_and_delayed_messages_back_once_no_worker_runs(headrace: CommandLine, broker: redis.Redis) -> None:
    claims = Claims(broker)
    claims.join("worker", 60_000, lanes=1, single_active=[LANE])
    broker.lpush(LANE, "1", "2", "3")
    held = claims.claim("worker", [(LANE, True)], 2).messages
    claims.delay("worker", held[0].token, 3600)

    running = headrace("broker", "export")
    assert (running.code, running.err) == (
        1,
        "headrace: 1 consumers hold leases: stop every worker (`headrace down`) and repeat\n",
    )

    claims.leave("worker")
    assert headrace("broker", "export", "--json").json == {"claimed": 0, "delayed": 1, "refused": 0}
    assert broker.lrange(LANE, 0, -1) == [b"1", b"3", b"2"]
    assert "claimed  0" in headrace("broker", "export").out


def test_the_number_of_lanes_of_a_stopped_fleet_is_changed(headrace: CommandLine, broker: redis.Redis) -> None:
    broker.set(keys.LANES, 32)
    broker.lpush(LANE, "1", "2")
    assert headrace("broker", "lanes", "8", "--json").json == {"lanes": 8, "waiting": 2}
    assert (broker.get(keys.LANES), broker.lrange("messages", 0, -1)) == (b"8", [b"2", b"1"])
    broker.lpush("webhooks.03", "waits")
    refused = headrace("broker", "lanes", "4")
    assert refused.code == 1
    assert "webhooks wait in 1 lanes" in refused.err
    assert headrace("broker", "lanes", "257").code == 2
