"""Who is to blame for an error: the message, or a dependency."""

import psycopg
import redis

from shared.db.outage import is_outage


def test_a_dependency_that_is_away_is_nobodys_fault() -> None:
    assert is_outage(redis.ConnectionError())
    assert is_outage(psycopg.errors.DiskFull())
    assert is_outage(TimeoutError())


def test_a_message_that_eats_all_memory_is_halved_away_and_holds_its_slot_for_no_longer() -> None:
    assert not is_outage(MemoryError())
