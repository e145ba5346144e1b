"""What the supervisor runs: a command, the condition under which it is ready, and how it wants to be stopped."""

import signal
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from workers.local.owner import Owner

EDGE, FLEET, SERVERS = 0, 1, 2
"""Stages of stopping, the lowest first: what takes work in, what works it off, what all of it stands on."""


@dataclass(frozen=True, slots=True)
class Program:
    """One process of the fleet.

    Args:
        name: unique in the fleet; also the name of its log file.
        command: what to execute, without a shell and without secrets: everybody can list command lines.
        environment: the whole environment of the process.
        is_ready: asked until it says True; must return within about a second and not raise.
        before_start: run before every start, such as removing last time's ready file.
        stop_signal: asks the process to drain and end.
        stop_seconds: after this long it is killed.
        stop_stage: EDGE, FLEET or SERVERS.
        owner: whose process it is; None: ours.
        overlaps: a new one may run beside the old, and is ready by its own sign: a renewal starts it first.
    """

    name: str
    command: tuple[str, ...]
    environment: Mapping[str, str]
    is_ready: Callable[[], bool]
    before_start: Callable[[], None] = lambda: None
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 15
    stop_stage: int = FLEET
    owner: Owner | None = None
    overlaps: bool = False
