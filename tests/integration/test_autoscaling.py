"""A fleet that grows under load and shrinks after it, on real workers: by counting ids, no message is lost or out of order.

How fast it does that is measured by `python -m tests.benchmarks --only scaling`.
"""

from collections.abc import Iterator
from pathlib import Path

import pytest
import redis

from shared.producer import Producer
from shared.settings import settings
from tests.conftest import RunningStack
from tests.factory import assert_sequences_whole, count, message, new_account, queued, rows
from tests.local_fleet import Fleet, new_fleet
from tests.waiting import eventually
from workers.autoscaler import sample
from workers.autoscaler.actuators import Nobody
from workers.autoscaler.loop import Autoscaler

MESSAGES = 4_000
"""Ten seconds and more of work for one slowed worker."""

CONVERSATIONS = 100


@pytest.fixture
def fleet(reachable_dir: Path, clean: RunningStack) -> Iterator[Fleet]:
    """One slowed worker, and up to three when the autoscaler asks for them; on the servers that are there."""
    for it in new_fleet(reachable_dir, "scaling"):
        urls = {name: value for name, value in clean.environment.items() if name.endswith("_URL")}
        slowed = {"HEADRACE_TASK_MODULES": "tests.slowed_store"}
        hasty = {"HEADRACE_AUTOSCALER_DRAIN_SECONDS": "5", "HEADRACE_AUTOSCALER_STABLE_SECONDS": "4"}
        ended = it.up("--workers", "1", "--workers-max", "3", **urls, **slowed, **hasty)
        assert ended.returncode == 0, ended.stderr
        yield it


def workers(fleet: Fleet) -> list[str]:
    """Those that run."""
    return [
        each["name"] for each in fleet.status()["processes"] if each["name"].startswith("worker-") and each["state"] == "running"
    ]


def test_a_backlog_has_more_workers_started_and_they_are_let_go_after_it_without_a_loss(fleet: Fleet, producer: Producer) -> None:
    account = new_account()
    sent = [message(f"m{number}", f"c{number % CONVERSATIONS}") for number in range(MESSAGES)]
    for start in range(0, MESSAGES, 500):
        producer.publish([queued(account, it) for it in sent[start : start + 500]])
    eventually("further workers run", lambda: len(workers(fleet)) > 1, within=60, every=0.5)
    eventually("all are stored", lambda: count("SELECT count(*) FROM messages") == MESSAGES, within=60)
    eventually("the first worker is alone again", lambda: workers(fleet) == ["worker-1"], within=60, every=0.5)
    assert count("SELECT count(*) FROM dead_letters") == 0
    assert_sequences_whole()
    found = rows(
        "SELECT c.external_id, array_agg(m.message_id ORDER BY m.sequence) FROM messages m"
        " JOIN conversations c ON c.id = m.conversation_id GROUP BY c.external_id"
    )
    assert {name: list(ids) for name, ids in found} == {
        f"c{number}": [f"m{each}" for each in range(number, MESSAGES, CONVERSATIONS)] for number in range(CONVERSATIONS)
    }


def test_a_sample_counts_what_waits_what_is_held_and_what_was_settled_and_leaves_out_what_is_paused(
    clean: RunningStack, broker: redis.Redis, producer: Producer
) -> None:
    from shared.broker.claims import Claims

    account, claims = new_account(), Claims(broker)
    batch = [queued(account, message(f"m{number}", "c-1")) for number in range(10)]
    producer.publish(batch)
    claims.join("w", 60_000, lanes=32, single_active=[batch[0].queue])
    claims.join("plain", 60_000)
    taken = [claim.token for claim in claims.claim("w", [(batch[0].queue, True)], 6).messages]
    assert claims.ack("w", taken[:2]) == 2
    found = sample.take(broker, settings().queues, 0.0, 10**10)
    assert (found.waiting["messages"], found.in_flight, found.settled, found.workers) == (4, 4, {"messages": 2}, 1)
    assert (found.backlog, found.oldest_seconds > 0) == (8, True)
    claims.pause([batch[0].queue])
    paused = sample.take(broker, settings().queues, 0.0, 10**10)
    assert (paused.waiting["messages"], paused.oldest_seconds) == (0, 0)


def test_the_metric_says_how_many_workers_are_wanted(clean: RunningStack, broker: redis.Redis, producer: Producer) -> None:
    from shared.metrics import AUTOSCALER_TARGET

    it = Autoscaler(settings(), broker, Nobody())
    assert it.look(0.0, 0.0) is None
    decision = it.look(1.0, 1.0)
    assert decision
    values = [each.value for family in AUTOSCALER_TARGET.collect() for each in family.samples]
    assert decision.target == 1 == pytest.approx(sum(values))
