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

HEALTH = "health"
"""Directory of the ports of workers' health, a file a worker."""

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


class Plan:
    """The processes beside the servers.

    Args:
        data_dir: of the fleet.
        config: knows everything that the fleet chose.
        environment: the same as variables, for the processes.
    """

    def __init__(self, data_dir: Path, config: Settings, environment: Mapping[str, str]) -> None:
        self._data_dir, self._config = data_dir, config
        self._environment = {**os.environ, **environment}

    def prepare(self) -> None:
        """Empty what a former fleet left."""
        _empty(self._data_dir / "metrics")  # counters of processes that are gone would be counted for ever
        _empty(self._data_dir / "ready")
        _empty(self._data_dir / HEALTH)

    def edge(self) -> list[Program]:
        """What stands before the workers."""
        answers = answers_http(self._config.ingress_port, "/livez")
        ingress = self._with_ready_file(self._program("ingress", answers, EDGE))
        # A renewal has two of them on one port; that nobody else listens there was seen to before the start.
        return [
            replace(ingress, environment={**ingress.environment, f"{PREFIX}INGRESS_SHARE_PORT": "1"}),
            self._program("beat", always),
        ]

    def worker(self, number: int) -> Program:
        """Store worker ``number``, 1 or more. Its health has a free port: while it is renewed there are two of it."""
        name = f"worker-{number}"
        health = {f"{PREFIX}HEALTH_PORT": "0", f"{PREFIX}HEALTH_PORT_FILE": str(self._data_dir / HEALTH / name)}
        program = self._program("worker", always, FLEET, "--name", name)
        program = replace(program, name=name, environment={**program.environment, **health})
        return replace(self._with_ready_file(program), stop_seconds=self._config.drain_seconds + DRAIN_MARGIN_SECONDS)

    def views(self) -> list[Program]:
        """What shows it."""
        return [
            self._program("flower", answers_http(self._config.flower_port, "/healthcheck")),
            self._program("exporter", answers_http(self._config.exporter_port, "/metrics")),
        ]

    def autoscaler(self, least: int, most: int) -> list[Program]:
        """What asks for workers; nothing when there is no choice."""
        if most <= least:
            return []
        bounds = {f"{PREFIX}AUTOSCALER_WORKERS_MIN": str(least), f"{PREFIX}AUTOSCALER_WORKERS_MAX": str(most)}
        program = self._program("autoscaler", always)
        return [replace(program, environment={**program.environment, **bounds})]

    def _program(self, verb: str, is_ready: Callable[[], bool], stop_stage: int = FLEET, *arguments: str) -> Program:
        return Program(
            name=verb,
            command=(sys.executable, "-m", "workers.cli.main", verb, *arguments),
            environment=self._environment,
            is_ready=is_ready,
            stop_stage=stop_stage,
        )

    def _with_ready_file(self, program: Program) -> Program:
        """It tells by a file that it is ready, so that a new one beside the old is not taken for it."""
        file, asked = self._data_dir / "ready" / program.name, program.is_ready
        return replace(
            program,
            environment={**program.environment, f"{PREFIX}READY_FILE": str(file)},
            is_ready=lambda: file.exists() and asked(),
            before_start=lambda: file.unlink(missing_ok=True),
            overlaps=True,
        )


def _require_free(who: str, port: int, host: str) -> None:
    if not ports.is_free(port, host):
        raise ports.PortInUse(
            f"port {port}, for {who}, is in use; mend: `headrace up --port N` with N, N+1 and N+2 free, or end what listens"
        )


def _empty(directory: Path) -> None:
    shutil.rmtree(directory, ignore_errors=True)
    directory.mkdir(mode=0o700)
