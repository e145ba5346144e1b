"""A run from beginning to end: accounts, sending, draining, the account of every message, and the accounts removed again.

SIGINT ends the sending; a second one ends the draining; either way the account is made of what there is.
"""

import asyncio
import signal
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta

import psutil
from sqlalchemy.exc import DBAPIError
from sqlalchemy.exc import TimeoutError as PoolTimeout
from uuid_utils import uuid7

from loadgen import senders, tenants
from loadgen.audit import Audit, Fate
from loadgen.dispatcher import Dispatcher
from loadgen.drain import Drain
from loadgen.pacer import Pacer
from loadgen.probe import Probe, clock_offset_and_version
from loadgen.progress import Display
from loadgen.recorder import Recorder, latency_of
from loadgen.report import Report
from loadgen.scenario import Scenario
from loadgen.tenants import Tenant
from shared.clock import monotonic_seconds
from shared.errors import HeadraceError
from shared.settings import masked, settings

SHOW_SECONDS = 1.0
"""Between two looks at the database while sending."""


@dataclass(frozen=True, slots=True)
class Plan:
    """What to do.

    Args:
        rate: messages a second, see `pacer`.
        duration_seconds: of sending.
        via: ``webhook``, ``api`` or ``celery``.
        seed: of the scenario.
        accounts: 1 to `tenants.ACCOUNTS_MAX`.
        conversations: see `scenario`.
        patience_seconds: without progress, until what is not settled counts as lost.
        keep: leave the accounts and what they stored in place.
    """

    rate: float
    duration_seconds: float
    via: str
    seed: int
    accounts: int
    conversations: int
    patience_seconds: float
    keep: bool


def run(plan: Plan) -> Report:
    """Do it. Raises HeadraceError when the fleet cannot be reached; faults found are in the report."""
    name = f"load-{uuid7().hex[:16]}"
    pacer = Pacer(plan.rate, max(1, round(plan.rate * plan.duration_seconds)))
    with _database_named():
        ahead, server_version = clock_offset_and_version()
        senders.reach(plan.via)
        owners = tenants.create(name, plan.accounts)
    report = None
    with Display(pacer.planned) as display:
        try:
            with _database_named():
                report = asyncio.run(_Run(name, plan, pacer, owners, display).report(ahead, server_version))
        finally:
            if report is not None and not report.faults() and not plan.keep:
                tenants.remove(owners)
            else:
                display.say(f"the accounts {name}-0 to -{plan.accounts - 1} are kept; `headrace account delete` removes one")
    return report


class _Run:
    """The parts of one run, put together."""

    def __init__(self, name: str, plan: Plan, pacer: Pacer, owners: list[Tenant], display: Display) -> None:
        self._name = name
        self._plan = plan
        self._pacer = pacer
        self._scenario = Scenario(name, seed=plan.seed, accounts=plan.accounts, conversations=plan.conversations)
        self._recorder = Recorder(pacer.planned)
        self._probe = Probe(self._scenario, [owner.account_id for owner in owners])
        self._drain = Drain(self._probe, self._recorder, display, patience=plan.patience_seconds)
        self._links = senders.links(plan.via, owners)
        self._dispatcher = Dispatcher(self._scenario, pacer, self._recorder, self._links)

    async def report(self, database_clock_ahead: float, database_version: str) -> Report:
        try:
            await asyncio.gather(*(link.open() for link in self._links))
            began, cpu_before = monotonic_seconds(), _cpu_seconds()
            await self._send()
            cpu, took = _cpu_seconds() - cpu_before, monotonic_seconds() - began
        finally:
            await asyncio.gather(*(link.close() for link in self._links))
        started_at = self._dispatcher.started_at + timedelta(seconds=database_clock_ahead)
        fate = await self._settle(started_at)
        return Report(
            run=self._name,
            parameters=asdict(self._plan),
            started_at=self._dispatcher.started_at,
            fate=fate,
            uncertain=self._recorder.uncertain,
            unsent=self._recorder.unsent,
            refusals=dict(self._recorder.refusals),
            achieved_rate=self._achieved_rate(fate, started_at),
            latencies={
                "acknowledgement": latency_of(self._recorder.acknowledgement),
                "accepted_to_committed": latency_of(self._probe.commit),
                "due_to_committed": latency_of(self._probe.whole),
            },
            generator={
                "cpu_seconds": round(cpu, 3),
                "cpu_cores": round(cpu / took, 3),
                "pacer_lag_ms_max": round(self._recorder.pacer_lag_seconds_max * 1000, 3),
            },
            database_version=database_version,
            database_clock_ahead_seconds=round(database_clock_ahead, 6),
        )

    async def _send(self) -> None:
        with _on_interrupt(self._dispatcher.stop):
            sending = asyncio.create_task(self._dispatcher.run())
            while not sending.done():
                await self._drain.look()
                await asyncio.wait({sending}, timeout=SHOW_SECONDS)
        await sending

    async def _settle(self, started_at: datetime) -> Fate:
        """Drain and count. Rejected messages may be among the settled ones, so that many are settled proves little: count again
        after each progress until nothing is lost or nothing moves."""
        target = self._recorder.accepted_count
        with _on_interrupt(self._drain.stop):
            while True:
                drained = await self._drain.until(target)
                audit = Audit(self._recorder.accepted, self._recorder.sent)
                self._probe.read_into(audit, started_at, self._plan.rate)
                fate = audit.fate(self._probe.message_counts)
                if not fate.lost or not drained:
                    return fate
                target = self._drain.settled + 1

    def _achieved_rate(self, fate: Fate, started_at: datetime) -> float:
        last = self._probe.last_stored_at
        if last is None or last <= started_at:
            return 0.0
        return round(fate.stored / (last - started_at).total_seconds(), 3)


@contextmanager
def _on_interrupt(stop: Callable[[], None]) -> Iterator[None]:
    """SIGINT calls ``stop`` instead of ending the process."""
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGINT, stop)
    try:
        yield
    finally:
        loop.remove_signal_handler(signal.SIGINT)


@contextmanager
def _database_named() -> Iterator[None]:
    """A database error becomes one line that says which database and what to do."""
    try:
        yield
    except (DBAPIError, PoolTimeout) as error:
        cause = str(getattr(error, "orig", None) or error).partition("\n")[0]
        url = masked(settings().required("database_url"))
        raise HeadraceError(f"the database at {url} failed ({cause}); is the fleet running? `headrace up`") from error


def _cpu_seconds() -> float:
    """Of this process and the Celery clients, so far."""
    me = psutil.Process()
    used = [process.cpu_times() for process in (me, *me.children())]
    return float(sum(times.user + times.system for times in used))
