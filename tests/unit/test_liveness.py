"""When a worker counts as dead, and when it only looks like it."""

from shared.broker.standing import Standing
from workers.liveness import NO_LEASE, STARTING_SECONDS_MAX, Liveness

STALL = 30.0
STANDING = Standing("me", frozenset({"messages.00"}), frozenset(), has_room=True)


def consuming(at: float = 0.0) -> Liveness:
    it = Liveness(STALL, 0.0)
    it.beat(at, "consuming", STANDING)
    return it


def test_a_loop_that_turns_is_alive_and_one_that_stands_still_is_not() -> None:
    it = consuming()
    for second in range(100):
        it.beat(second, "consuming", STANDING)
        assert it.fault(second + 0.5) == ""
    assert it.fault(99 + STALL) == ""
    assert it.fault(100 + STALL) == "the event loop has stood still for 31 s while consuming"


def test_the_same_message_at_the_head_of_its_queue_for_too_long_is_a_fault() -> None:
    it = consuming()
    for second in range(0, 36, 5):
        it.beat(second, "consuming", STANDING)
        it.observe({"messages.00": b"first"}, second)
        assert bool(it.fault(second)) == (second >= STALL)
    assert it.fault(35).startswith("messages.00 has waited for 35 s")


def test_a_queue_that_moves_is_no_fault_however_long_it_is_never_empty() -> None:
    it = consuming()
    for second in range(0, 200, 5):
        it.beat(second, "consuming", STANDING)
        it.observe({"messages.00": b"%d" % second}, second)
        assert it.fault(second) == ""
        assert not it.mend_due(second)


def test_one_look_without_a_finding_begins_the_count_anew() -> None:
    it = consuming()
    for second in range(0, 100, 5):
        it.beat(second, "consuming", STANDING)
        it.observe({} if second == 25 else {"messages.00": b"first"}, second)
        assert (it.fault(second) == "") == (second < 25 + 5 + STALL)


def test_the_consumer_is_to_begin_anew_after_half_of_the_time_and_again_after_each_half() -> None:
    it = consuming()
    due = []
    for second in range(0, 61, 5):
        it.beat(second, "consuming", STANDING)
        it.observe({"messages.00": b"first"}, second)
        if it.mend_due(second):
            due.append(second)
    assert due == [15, 30, 45, 60]


def test_a_broker_that_is_away_is_no_fault_of_the_worker() -> None:
    it = consuming()
    for second in range(0, 600, 2):
        it.beat(second, "connecting")
        assert it.fault(second) == ""
        assert it.judged(second) is None


def test_time_without_an_answer_of_the_broker_does_not_count_and_forgets_nothing() -> None:
    it = consuming()
    for second in range(0, 100, 5):
        it.beat(second, "consuming", STANDING)
        it.observe({"messages.00": b"first"} if second < 20 or second > 60 else None, second)
        assert (it.fault(second) == "") == (second < 80)  # 15 s before the outage, and 15 s from 65 on


def test_a_consumer_that_begins_anew_again_and_again_is_found_out() -> None:
    it = consuming()
    second = 0
    while not it.fault(second):
        assert second < 4 * STALL
        it.beat(second, "consuming", STANDING)
        joining = second % 15 == 0
        it.observe({NO_LEASE: b""} if joining else {"messages.00": b"first"}, second)
        second += 5


def test_a_consumer_without_a_lease_for_too_long_is_a_fault() -> None:
    it = consuming()
    for second in range(0, 36, 5):
        it.beat(second, "consuming", STANDING)
        it.observe({NO_LEASE: b""}, second)
        assert bool(it.fault(second)) == (second >= STALL)


def test_a_worker_that_stops_is_not_ended_a_second_time() -> None:
    it = consuming()
    it.beat(1, "stopping")
    it.beat(2, "connecting")
    assert it.state == "stopping"
    assert it.fault(10_000) == ""


def test_a_start_may_take_longer_than_a_standstill_but_not_for_ever() -> None:
    it = Liveness(STALL, 0.0)
    assert it.fault(STARTING_SECONDS_MAX) == ""
    assert "stood still" in it.fault(STARTING_SECONDS_MAX + 1)


def test_nothing_is_judged_by_what_a_silent_loop_said_last() -> None:
    it = consuming(at=10)
    assert it.judged(11) == STANDING
    assert it.judged(20) is None
