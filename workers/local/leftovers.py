"""What a supervisor left running when it was killed: ended by whoever comes next, known by pid and start time."""

from workers.local.identity import end
from workers.local.record import FleetRecord


def end_all(record: FleetRecord) -> int:
    """End every process of ``record`` that is still there, stage by stage, and say how many there were.

    The caller holds the data directory's lock, so their supervisor is dead.
    """
    known = [each for each in record.processes if each.process is not None]
    there = sum(each.process.identity.find() is not None for each in known if each.process)
    for stage in sorted({each.stop_stage for each in known}):
        end(each.process for each in known if each.process and each.stop_stage == stage)
    return there
