"""What a process is to the database: how many connections it may hold, and how it uses them."""

from typing import NamedTuple


class Role(NamedTuple):
    """What a process is to the database.

    Args:
        name: shown in `pg_stat_activity`; a few letters.
        size: connections that are kept, 1 to 100.
        overflow: further ones under pressure, closed on return, 0 to 100.
        serves: a process of the fleet: measured, impatient with a silent server, and reading from a replica where there is one.
            False for tools: who types a command wants to see what the last one did, and a migration takes its time.
        index_only: all its statements look up a bounded number of keys, and are planned so (`connection.INDEX_ONLY`).
    """

    name: str
    size: int
    overflow: int = 0
    serves: bool = False
    index_only: bool = False

    @property
    def connections(self) -> int:
        """The most that one process holds."""
        return self.size + self.overflow


TOOL = Role("tool", 2)
