"""Which processes make a fleet, with what settings: `headrace VERB` children, told everything by HEADRACE_... variables."""

import os
import secrets
import shutil
import sys
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path

from shared.settings import PREFIX, Settings
from workers.local import ports
from workers.local.conditions import always, answers_http
from workers.local.program import EDGE, FLEET, Program

PORT = 8080
"""N by default. With it Flower has its own usual port, 5555; with any other, N+2."""

FLOWER_PORT = 5555

DRAIN_MARGIN_SECONDS = 4
"""A worker ends its children and closes its connections after its drain."""


def fleet_environment(data_dir: Path, config: Settings, port: int | None) -> dict[str, str]:
    """What the fleet chooses by itself beside the servers' URLs. Raises PortInUse.

    Args:
        port: N for the ingress, N+1 for the exporter, N+2 for Flower; None: as ``config`` has them.
    """
    ingress, exporter, flower = config.ingress_port, config.exporter_port, config.flower_port
    if port is not None:
        ingress, exporter, flower = port, port + 1, FLOWER_PORT if port == PORT else port + 2
    _require_free("the ingress", ingress, config.ingress_host)
    _require_free("the exporter", exporter, config.admin_host)
    _require_free("Flower", flower, config.admin_host)
    return {
        f"{PREFIX}DATA_DIR": str(data_dir),
        f"{PREFIX}INGRESS_PORT": str(ingress),
        f"{PREFIX}EXPORTER_PORT": str(exporter),
        f"{PREFIX}FLOWER_PORT": str(flower),
        f"{PREFIX}FLOWER_PASSWORD": config.flower_password or secrets.token_urlsafe(18),
        f"{PREFIX}METRICS_DIR": str(data_dir / "metrics"),
    }


def fleet_programs(data_dir: Path, config: Settings, environment: Mapping[str, str], workers: int) -> list[Program]:
    """The processes beside the servers.

    Args:
        config: knows everything that the fleet chose.
        environment: the same as variables, for the processes.
        workers: store workers, 1 or more.
    """
    _empty(data_dir / "metrics")  # counters of processes that are gone would be counted for ever
    _empty(data_dir / "ready")

    def program(verb: str, is_ready: Callable[[], bool], stop_stage: int = FLEET, *arguments: str) -> Program:
        return Program(
            name=verb,
            command=(sys.executable, "-m", "workers.cli.main", verb, *arguments),
            environment={**os.environ, **environment},
            is_ready=is_ready,
            stop_stage=stop_stage,
        )

    def worker(name: str) -> Program:
        ready_file = data_dir / "ready" / name
        return replace(
            program("worker", ready_file.exists, FLEET, "--name", name),
            name=name,
            environment={**os.environ, **environment, f"{PREFIX}READY_FILE": str(ready_file)},
            before_start=lambda: ready_file.unlink(missing_ok=True),
            stop_seconds=config.drain_seconds + DRAIN_MARGIN_SECONDS,
        )

    return [
        program("ingress", answers_http(config.ingress_port, "/livez"), EDGE),
        program("beat", always),
        *(worker(f"worker-{number}") for number in range(1, workers + 1)),
        program("flower", answers_http(config.flower_port, "/healthcheck")),
        program("exporter", answers_http(config.exporter_port, "/metrics")),
    ]


def _require_free(who: str, port: int, host: str) -> None:
    if not ports.is_free(port, host):
        raise ports.PortInUse(
            f"port {port}, for {who}, is in use; mend: `headrace up --port N` with N, N+1 and N+2 free, or end what listens"
        )


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
