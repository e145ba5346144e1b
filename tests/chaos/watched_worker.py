"""A worker of ours with a witness, and with messages that do harm: ``python -m tests.chaos.watched_worker worker ...``.

Before the real handler runs a batch, its message ids go to the list ``delivered`` of the cache's Redis. A message's text may
then be a harm (`tests.chaos.harms`), which happens in the child, as a handler's own bug would.
"""

from collections.abc import Sequence

import msgspec

from shared.message import QueuedMessage
from shared.outcome import Outcome
from shared.redis_client import connect
from shared.settings import settings
from shared.topology import STORE_MESSAGES
from tasks.batch import Member
from tests.chaos.harms import DELIVERED, harm
from workers.app import app
from workers.cli.main import main


def watch() -> None:
    """Put the witness before the real handler."""
    task = app.tasks[STORE_MESSAGES]
    handle = task.run

    def run(members: list[Member]) -> Sequence[Outcome]:
        messages = [msgspec.json.decode(member.argument, type=QueuedMessage) for member in members]
        with connect(settings().cache_url, timeout=5) as witness:
            witness.rpush(DELIVERED, *(each.message_id for each in messages))
        for message in messages:
            harm(message.text)
        outcomes: Sequence[Outcome] = handle(members)
        return outcomes

    task.run = run


if __name__ == "__main__":
    watch()
    main()
