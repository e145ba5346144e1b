"""Which slot a lane is in."""

from tasks.pins import Pins
from tasks.slot import Pending, Slot


def slots(count: int = 2) -> list[Slot]:
    return [Slot(messages_max=100, bytes_max=10**6, attempts_max=3, worker="w") for _ in range(count)]


def give(pins: Pins, queue: str) -> Slot:
    slot = pins.pin(queue)
    slot.add(Pending(queue, f"{queue}|1", b"", 0, None, 100))
    return slot


def test_a_lane_stays_in_its_slot_until_its_last_message_is_settled() -> None:
    pins = Pins(slots())
    first = give(pins, "messages.00")
    other = give(pins, "messages.02")
    assert other is not first
    for _ in range(5):
        assert give(pins, "messages.00") is first
    for _ in range(6):
        pins.release("messages.00")
    assert give(pins, "messages.00") is other, "the less busy one now"


def test_an_unordered_queue_is_spread_over_all_slots() -> None:
    pins = Pins(slots())
    used = [give(pins, "replies") for _ in range(10)]
    assert used.count(used[0]) == 5
    pins.release("replies")


def test_a_lane_whose_messages_are_all_in_flight_stays_in_its_slot_though_the_other_one_is_idle() -> None:
    pins = Pins(slots())
    first = give(pins, "messages.00")
    assert first.next_batch(0)
    assert give(pins, "messages.00") is first
