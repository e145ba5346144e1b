"""`headrace up`: one fleet in one data directory, from the lock on the directory to the end of the last process."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import NamedTuple

from shared.settings import settings
from workers.local import leftovers, schema
from workers.local.data_dir import claimed
from workers.local.identity import identity_of
from workers.local.plan import Plan, fleet_environment
from workers.local.record import FleetRecord, load, save
from workers.local.servers import secrets_for, servers
from workers.local.signals import Signals
from workers.local.supervisor import Supervisor

START_SECONDS = 90
"""Until everything is ready: a busy machine needs 20 s; a broker that reads back a log of 1 GiB needs 30 s."""


class Size(NamedTuple):
    """Store workers: at the start and at least, and at most."""

    least: int
    most: int


def run(data_dir: Path, port: int | None, size: Size, show: Callable[[FleetRecord], None]) -> None:
    """Run a fleet until a signal says stop. Main thread only.

    Args:
        data_dir: absolute; made when it is not there.
        port: N of the ingress, N+1 of the exporter, N+2 of Flower; None: as the settings say.
        size: of the fleet; where there is a choice, the autoscaler makes it.
        show: called whenever the record changed and about once a second.

    Raises HeadraceError when it cannot start; everything has been stopped by then.
    """
    with claimed(data_dir), Signals() as signals:
        old = load(data_dir)
        leftovers.end_all(old)
        record = old.kept()
        record.supervisor, record.secrets = identity_of(os.getpid()), secrets_for(old.secrets)
        supervisor = Supervisor(data_dir, record, signals, lambda: show(record))
        try:
            if _start(data_dir, record, supervisor, port, size):
                supervisor.run(lambda: show(record))
        finally:
            supervisor.stop()
            save(record.kept(), data_dir)


def _start(data_dir: Path, record: FleetRecord, supervisor: Supervisor, port: int | None, size: Size) -> bool:
    """True when everything is ready, False when a signal came first."""
    save(record, data_dir)  # without what the last fleet chose, so that the settings are the user's own
    os.environ["HEADRACE_DATA_DIR"] = str(data_dir)
    settings.cache_clear()
    record.environment = fleet_environment(data_dir, settings(), port)
    chosen = servers(data_dir, settings(), record.secrets)
    record.environment |= chosen.environment
    save(record, data_dir)
    supervisor.start(chosen.programs)
    settings.cache_clear()
    if not supervisor.wait_ready(START_SECONDS):
        return False
    plan = Plan(data_dir, settings(), record.environment)
    plan.prepare()  # before whatever counts, for counters are files there
    schema.prepare(record)
    supervisor.start(plan.edge())
    supervisor.start_pool(plan.worker, size.least, size.most)
    supervisor.start([*plan.views(), *plan.autoscaler(size.least, size.most)])
    if not supervisor.wait_ready(START_SECONDS):
        return False
    supervisor.complete()
    return True
