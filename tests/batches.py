"""Batches as a worker's parent hands them to a child, for tests that run a handler in this process."""

import json
from typing import Any
from uuid import uuid4

from shared.clock import wall_seconds
from shared.envelope import envelope
from tasks.member import Wire


def wires(task: str, arguments: list[dict[str, Any]]) -> list[Wire]:
    """One message of ``task`` for each argument, claimed just now."""
    return [_wire(task, argument) for argument in arguments]


def _wire(task: str, argument: dict[str, Any]) -> Wire:
    enqueued = envelope(task, json.dumps(argument).encode(), lane=0, accepted_at=wall_seconds(), via="test")
    return Wire(enqueued.queue, str(uuid4()), enqueued.payload, wall_seconds(), [], "")
