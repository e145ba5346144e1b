"""What was sent, and whether all of it is there: every id once, in the order in which it was sent, nothing in between.

A message is entered once its publish has returned; only then is it promised.
"""

import threading
from collections import defaultdict
from collections.abc import Collection, Iterable

import redis

from shared.broker import keys
from shared.message import Message
from tests.factory import assert_sequences_whole, count, rows
from tests.waiting import eventually


class Ledger:
    """Thread-safe. One conversation is sent by one thread, so that its order is known."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._sent: dict[str, list[str]] = defaultdict(list)

    def __len__(self) -> int:
        return sum(len(ids) for ids in list(self._sent.values()))

    def enter(self, messages: Iterable[Message]) -> None:
        """These are promised."""
        with self._lock:
            for message in messages:
                self._sent[message.conversation_id].append(message.message_id)

    def settle(self, broker: redis.Redis, *, within: float, dead: Collection[str] = (), garbage: int = 0) -> None:
        """Wait until everything is stored or a dead letter and the broker is empty, then count every id.

        Args:
            broker: the fleet's.
            within: seconds.
            dead: ids of those that must be dead letters; all others must be stored.
            garbage: dead letters that have no id.
        """
        wanted = len(self) - len(dead)
        eventually(f"{wanted} messages are stored", lambda: stored() >= wanted, within=within, every=0.2)
        eventually("the dead letters are kept", lambda: letters() >= len(dead) + garbage, within=within)
        eventually("nothing is stuck in the broker", lambda: not left_in(broker), within=20)
        self.assert_whole(dead, garbage)

    def assert_whole(self, dead: Collection[str] = (), garbage: int = 0) -> None:
        """Nothing lost, nothing twice, nothing out of order, nothing dead but ``dead`` and ``garbage``."""
        buried = [(message_id, reason) for message_id, reason in rows("SELECT message_id, reason FROM dead_letters")]
        innocent = [letter for letter in buried if letter[0] and letter[0] not in dead]
        assert not innocent, "no outage and no kill makes a dead letter"
        assert len(buried) == len(dead) + garbage
        kept: dict[str, list[str]] = defaultdict(list)
        for conversation, message_id in rows(
            "SELECT c.external_id, m.message_id FROM messages m JOIN conversations c ON c.id = m.conversation_id"
            " ORDER BY m.conversation_id, m.sequence"
        ):
            kept[conversation].append(message_id)
        for conversation, sent in self._sent.items():
            wanted = [message_id for message_id in sent if message_id not in dead]
            found = kept.pop(conversation, [])
            assert found == wanted, difference(conversation, wanted, found)
        assert not kept, "nothing is stored that was never sent"
        assert_sequences_whole()


def difference(conversation: str, wanted: list[str], found: list[str]) -> str:
    """What is wrong, in a line."""
    place = next((number for number, pair in enumerate(zip(wanted, found, strict=False)) if pair[0] != pair[1]), len(found))
    lost, extra = sorted(set(wanted) - set(found)), sorted(set(found) - set(wanted))
    here = slice(max(0, place - 1), place + 4)
    return f"{conversation}: lost {lost}, never sent {extra}, sent {wanted[here]} but stored {found[here]} from {place} on"


def stored() -> int:
    """Rows of messages."""
    return count("SELECT count(*) FROM messages")


def letters() -> int:
    """Dead letters."""
    return count("SELECT count(*) FROM dead_letters")


def slowest_seconds() -> float:
    """The longest time between a message's acceptance and its storage: no recovery took longer."""
    return float(count("SELECT coalesce(max(extract(epoch FROM stored_at - received_at)), 0) FROM messages"))


def left_in(broker: redis.Redis) -> list[str]:
    """Keys of messages that wait, are claimed, delayed or set aside."""
    patterns = ("messages*", "webhooks*", keys.CLAIMS + "*", keys.REFUSED + "*", keys.DELAYED, keys.HELD, keys.ALONE)
    return [name.decode() for pattern in patterns for name in broker.scan_iter(match=pattern, count=1000)]
