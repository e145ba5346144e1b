"""Which slot a lane is in: the least busy one, for as long as the worker holds any of the lane's messages.

So a lane's messages are never in two children at once, and no slot idles while another has a backlog of several lanes. (A fixed
``lane % slots`` would do neither: of two workers one has the even lanes, and all of them would fall into its first slot.)
"""

from collections import Counter
from collections.abc import Sequence

from shared.broker.lanes import is_single_active
from tasks.slot import Slot


class Pins:
    """The lanes of one worker.

    Args:
        slots: one or more.
    """

    def __init__(self, slots: Sequence[Slot]) -> None:
        self._slots = slots
        self._pinned: dict[str, Slot] = {}
        self._held: Counter[str] = Counter()

    def pin(self, queue: str) -> Slot:
        """The slot for one more message of ``queue``; of an unordered queue, whichever is least busy now."""
        slot = self._pinned.get(queue)
        if slot is None:  # not `or`: a slot where nothing waits is falsy, and its batch may be in flight
            slot = min(self._slots, key=lambda each: (len(each), each.running))
        if is_single_active(queue):
            self._pinned[queue] = slot
            self._held[queue] += 1
        return slot

    def release(self, queue: str) -> None:
        """One message of ``queue`` is settled, or no longer this worker's."""
        if queue in self._held:
            self._held[queue] -= 1
            if not self._held[queue]:
                del self._held[queue], self._pinned[queue]
