"""Rows 11, 12, 15 and 16 of the faults: a database that crashes, drops its clients, is locked, slow or frozen, and a commit whose
answer is lost."""

import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.chaos.database import Scene, new_place
from tests.chaos.form import long_form
from tests.chaos.ledger import slowest_seconds, stored
from tests.chaos.schedule import inject, schedule
from tests.commit_cutter import CommitCutter
from tests.conftest import RunningStack
from tests.postgres_server import PostgresServer, serving
from tests.waiting import eventually

CRASH_SECONDS = 15.0
FROZEN_SECONDS = 45

TERMINATE = "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE application_name LIKE 'headrace-store-%'"
DAWDLE = """
CREATE FUNCTION dawdle() RETURNS trigger LANGUAGE plpgsql AS 'BEGIN PERFORM pg_sleep(5); RETURN NULL; END';
CREATE TRIGGER dawdle BEFORE INSERT ON messages EXECUTE FUNCTION dawdle()
"""

wait = threading.Event().wait


@pytest.fixture(scope="module")
def server(stack: RunningStack, reachable_dir: Path) -> Iterator[PostgresServer]:
    """One for all of them."""
    with serving(PostgresServer(new_place(reachable_dir, "database") / "primary")) as it:
        yield it


def restart(server: PostgresServer, number: int) -> None:
    """Crash it; it is away for up to a second, and its recovery."""
    server.crash()
    wait(number % 11 / 10)
    server.start()


def test_crashes_killed_connections_locks_and_lost_answers_lose_double_and_blame_nothing(
    scene: Scene, server: PostgresServer
) -> None:
    """A little of each, in one fleet; the long form has much of each."""
    lock = "BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep(1.5); COMMIT"
    with CommitCutter.running(server.socket) as proxy:
        assert isinstance(proxy, CommitCutter)
        proxy.cut_every, proxy.cuts_max = 5, 20
        actions = {
            "crash": lambda number: restart(server, number),
            "kill connections": lambda _: server.execute(TERMINATE),
            "lock": lambda _: server.execute(lock),
        }
        with scene.fleet(server, server.url_at(proxy.port)) as fleet:
            flow = scene.flow(batch=5, every=0.02)
            fleet.start_together("w1", "w2", HEADRACE_DATABASE_LOCK_MS="300")
            faults = schedule(scene.dice, [*actions, "kill connections", "kill connections"], 10, every=0.5)
            inject(faults, actions)
            eventually("so many answers are lost", lambda: proxy.cuts == proxy.cuts_max)
            flow.stop()
            scene.settle(fleet)
    scene.show("11, 12, 15, 16", "crashes, killed connections, locks; answers lost", len(faults) + proxy.cuts)
    assert slowest_seconds() <= CRASH_SECONDS


@long_form
def test_a_database_that_crashes_under_load_loses_nothing_and_is_worked_with_again_in_15_seconds(
    scene: Scene, server: PostgresServer
) -> None:
    with scene.fleet(server) as fleet:
        flow = scene.flow()
        fleet.start_together("w1", "w2")
        faults = schedule(scene.dice, ["crash"], 25, every=4)
        inject(faults, {"crash": lambda number: restart(server, number)})
        flow.stop()
        scene.settle(fleet)
    scene.show("11", "Postgres crashed (`pg_ctl -m immediate`)", len(faults))
    assert slowest_seconds() <= CRASH_SECONDS


@long_form
def test_connections_that_are_killed_in_a_loop_cost_no_message(scene: Scene, server: PostgresServer) -> None:
    wanted, killed = 1_000, 0
    with scene.fleet(server) as fleet:
        flow = scene.flow()
        fleet.start_together("w1", "w2")
        while killed < wanted:
            killed += len(server.execute(TERMINATE))
            wait(scene.dice.uniform(0, 0.1))
        flow.stop()
        scene.settle(fleet)
        again = scene.reruns("lost connection")
    scene.show("12", "connections killed in a loop", killed, f"{again} in a transaction")


@long_form
def test_a_locked_table_and_a_statement_that_is_too_slow_are_waited_for(scene: Scene, server: PostgresServer) -> None:
    locked = 60
    with scene.fleet(server) as fleet:
        flow = scene.flow()
        fleet.start_together("w1", "w2", HEADRACE_DATABASE_LOCK_MS="300", HEADRACE_DATABASE_STATEMENT_MS="600")
        eventually("work is under way", lambda: stored() > 100)
        server.execute(f"BEGIN; LOCK TABLE messages IN ACCESS EXCLUSIVE MODE; SELECT pg_sleep({locked}); COMMIT")
        held = len(scene.ledger)
        eventually("the backlog drains", lambda: stored() >= held)
        server.execute(DAWDLE)
        before = stored()
        wait(20)
        assert stored() <= before + 200, "what was under way; then each insert takes 5 s, and is ended after 0.6 s"
        server.execute("DROP FUNCTION dawdle CASCADE")
        flow.stop()
        scene.settle(fleet)
    scene.show("15", f"`LOCK TABLE` for {locked} s, then inserts slower than their time-out", 2)


@long_form
def test_a_frozen_database_is_an_outage_and_no_handlers_fault(scene: Scene, server: PostgresServer) -> None:
    """It answers nobody and closes nothing, for several times a batch's own limit: no child is killed as one that hangs."""
    with scene.fleet(server) as fleet:
        flow = scene.flow()
        workers = fleet.start_together("w1", "w2", HEADRACE_DATABASE_STATEMENT_MS="1000", HEADRACE_BATCH_TIMEOUT_SECONDS="10")
        eventually("work is under way", lambda: stored() > 100)
        processes = [process.pid for worker in workers for process in worker.tree()]
        server.freeze()
        wait(FROZEN_SECONDS)
        assert [process.pid for worker in workers for process in worker.tree()] == processes
        server.thaw()
        flow.stop()
        scene.settle(fleet)
    scene.show("15", f"Postgres frozen for {FROZEN_SECONDS} s", 1)


@long_form
def test_a_commit_whose_answer_is_lost_has_one_effect(scene: Scene, server: PostgresServer) -> None:
    cuts = 500
    with CommitCutter.running(server.socket) as proxy:
        assert isinstance(proxy, CommitCutter)
        proxy.cut_every, proxy.cuts_max = 2, cuts
        with scene.fleet(server, server.url_at(proxy.port)) as fleet:
            flow = scene.flow(batch=5, every=0.01)
            fleet.start_together("w1", "w2")
            eventually("so many answers are lost", lambda: proxy.cuts >= cuts, within=60 + cuts)
            flow.stop()
            scene.settle(fleet)
            again = scene.reruns("lost connection")
    assert proxy.cuts == cuts
    scene.show("16", "commit done, answer lost", cuts, f"{again} reruns")
