"""The sides of the drain benchmark as processes: ours, twice, and the peers of `loadgen/baseline/`, each in its environment."""

import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NamedTuple

from shared.settings import PREFIX
from shared.topology import MESSAGES
from tests.benchmarks.ground import DIRECTORY, ROOT, Ground
from workers.local import ports
from workers.local.child import Child
from workers.local.conditions import answers_http
from workers.local.identity import end
from workers.local.program import Program

BASELINE = ROOT / "loadgen" / "baseline"
CHILDREN = 2
"""Processes that store, on every side."""

STOP_SECONDS = 20


class Side(NamedTuple):
    """One way to do the job.

    Args:
        name: as tables and JSON show it.
        peer: its directory below `loadgen/baseline/`; empty for ours.
        in_lanes: whether its messages wait in lanes or in `messages`.
    """

    name: str
    peer: str = ""
    in_lanes: bool = False


LANES = Side("ours, lanes", in_lanes=True)
PLAIN = Side("ours, plain queue")
IDIOMATIC = Side("stock Celery, ORM", peer="idiomatic")
HANDWRITTEN = Side("stock Celery, SQL", peer="handwritten")
BATCHES = Side("celery-batches", peer="batches")
SIDES = (LANES, PLAIN, IDIOMATIC, HANDWRITTEN, BATCHES)


def python_of(peer: str) -> Path:
    """The interpreter of a peer's environment, made when it is not there or its requirements have changed."""
    requirements = BASELINE / peer / "requirements.txt"
    environment = DIRECTORY / peer
    python, made_of = environment / "bin" / "python", environment / "requirements.txt"
    if made_of.exists() and made_of.read_bytes() == requirements.read_bytes():
        return python
    uv = Path(sys.executable).with_name("uv")
    options = {**os.environ, "UV_LINK_MODE": "copy", "UV_COMPILE_BYTECODE": "1"}
    subprocess.run([uv, "venv", "--quiet", "--clear", "--python", sys.executable, environment], check=True, env=options)
    install = [uv, "pip", "install", "--quiet", "--python", python, "--requirement", requirements]
    subprocess.run(install, check=True, env=options)
    made_of.write_bytes(requirements.read_bytes())
    return python


@contextmanager
def worker(side: Side, ground: Ground, queues: str = MESSAGES) -> Iterator[Child]:
    """A worker of ``side``, just started; it is gone at the end, with its children.

    Args:
        queues: which a peer consumes, separated by commas; ours consumes its own.
    """
    child = Child(_peer(side.peer, ground, queues) if side.peer else _ours(ground), log_of(side, ground))
    try:
        yield child
    finally:
        end([child.stoppable])


@contextmanager
def ingress(ground: Ground) -> Iterator[tuple[Child, int]]:
    """Our ingress, just started, and its port; gone at the end."""
    port = ports.choose(0)
    program = Program(
        name="ingress",
        command=(sys.executable, "-m", "workers.cli.main", "ingress"),
        environment={**ground.headrace_environment, f"{PREFIX}INGRESS_PORT": str(port)},
        is_ready=answers_http(port, "/livez"),
        stop_seconds=STOP_SECONDS,
    )
    child = Child(program, ground.directory / "ingress.log")
    try:
        yield child, port
    finally:
        end([child.stoppable])


def log_of(side: Side, ground: Ground) -> Path:
    """Where its worker logs."""
    return ground.directory / f"{side.peer or 'ours'}.log"


def _ours(ground: Ground) -> Program:
    ready = ground.directory / "ready"
    environment = {
        **ground.headrace_environment,
        "HEADRACE_WORKER_CHILDREN": str(CHILDREN),
        "HEADRACE_READY_FILE": str(ready),
    }
    return Program(
        name="ours",
        command=(sys.executable, "-m", "workers.cli.main", "worker", "--name", "bench"),
        environment=environment,
        is_ready=ready.exists,
        before_start=lambda: ready.unlink(missing_ok=True),
        stop_seconds=STOP_SECONDS,
    )


def _peer(peer: str, ground: Ground, queues: str) -> Program:
    celery = python_of(peer).with_name("celery")
    options = (
        "--concurrency",
        str(CHILDREN),
        "--queues",
        queues,
        "--without-gossip",
        "--without-mingle",
        "--loglevel",
        "warning",
    )
    return Program(
        name=peer,
        command=(str(celery), "--workdir", str(BASELINE / peer), "-A", "tasks", "worker", *options),
        environment=ground.peer_environment,
        is_ready=lambda: True,
        stop_seconds=STOP_SECONDS,
    )
