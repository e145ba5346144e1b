"""Processes that are known by more than their pid: a pid is given out again, together with the start it names one process.

What a process started stays in its session, also after it has died itself; so its whole family can be found and ended.
"""

import os
import signal
from collections.abc import Callable, Iterable
from time import sleep

import psutil
from msgspec import Struct

from shared.clock import monotonic_seconds

POLL_SECONDS = 0.02

KILL_SECONDS = 5
"""How long the kernel may take to end what got SIGKILL; only a process stuck in I/O takes longer."""

SAME_START_SECONDS = 2
"""The boot time is rounded to seconds and may move by one between two looks; no pid comes round again within this."""


class Identity(Struct, frozen=True):
    """One process.

    Args:
        pid: its id.
        started: seconds from boot to its start; a clock that is set does not change it.
    """

    pid: int
    started: float

    def find(self) -> psutil.Process | None:
        """The process, or None when it has ended; a zombie has."""
        try:
            process = psutil.Process(self.pid)
            same = abs(_since_boot(process) - self.started) < SAME_START_SECONDS
            return process if same and process.status() != psutil.STATUS_ZOMBIE else None
        except psutil.NoSuchProcess:
            return None


class Stoppable(Struct, frozen=True):
    """A process and how it wants to be stopped.

    Args:
        stop_signal: asks it to drain and end.
        stop_seconds: after this long it is killed.
    """

    identity: Identity
    stop_signal: int
    stop_seconds: float


def identity_of(pid: int) -> Identity:
    """The identity of a live process or of our own unreaped child."""
    return Identity(pid, round(_since_boot(psutil.Process(pid)), 2))


def family(identity: Identity) -> list[psutil.Process]:
    """The process, its descendants, and what is left of the session that it led; it may be dead itself."""
    head = identity.find()
    members = [head, *_descendants(head)] if head else []
    if head or not psutil.pid_exists(identity.pid) or _is_zombie(identity.pid):
        # The number of a session is not given out again while the session has a member: these are its own.
        members += [each for each in _session(identity) if each not in members]
    return members


def end(processes: Iterable[Stoppable], hurry: Callable[[], bool] = lambda: False) -> None:
    """Ask each to stop, all at once; then kill what is left of it, with its family, once it ended or its time is over.

    Args:
        processes: asked in this order.
        hurry: once it says True no more time is given.
    """
    kin = [(process, family(process.identity)) for process in processes]
    begun = monotonic_seconds()
    for process, _ in kin:
        ask(process)
    for process, members in kin:
        while process.identity.find() and not hurry() and monotonic_seconds() - begun < process.stop_seconds:
            sleep(POLL_SECONDS)
        kill({*members, *family(process.identity)})


def ask(process: Stoppable) -> None:
    """Send it the signal that asks it to drain and end; do not wait."""
    if found := process.identity.find():
        _send(found, process.stop_signal)


def kill(processes: Iterable[psutil.Process]) -> None:
    """SIGKILL to each, and wait until they are gone."""
    processes = list(processes)
    for process in processes:
        _send(process, signal.SIGKILL)
    psutil.wait_procs(processes, timeout=KILL_SECONDS)


def _since_boot(process: psutil.Process) -> float:
    seconds: float = process.create_time() - psutil.boot_time()
    return seconds


def _is_zombie(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _send(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)  # psutil looks at the start time again
    except psutil.NoSuchProcess:
        return


def _descendants(process: psutil.Process) -> list[psutil.Process]:
    try:
        return list(process.children(recursive=True))
    except psutil.NoSuchProcess:
        return []


def _session(leader: Identity) -> list[psutil.Process]:
    found = []
    for pid in psutil.pids():
        try:
            if pid != leader.pid and os.getsid(pid) == leader.pid:
                member = psutil.Process(pid)
                if _since_boot(member) > leader.started - SAME_START_SECONDS:
                    found.append(member)
        except (ProcessLookupError, PermissionError, psutil.NoSuchProcess):
            continue
    return found
