"""What `headrace status` says: the record, and what the processes, the broker and the database answer now."""

from pathlib import Path
from typing import Any

import psutil
import redis
from sqlalchemy.exc import SQLAlchemyError

from shared.db.session import read_session
from shared.errors import ConfigurationError
from shared.metrics import recycles
from shared.redis_client import connect
from shared.settings import settings
from shared.store import dead_letters
from workers.local.identity import family
from workers.local.plan import HEALTH
from workers.local.record import FleetRecord, ProcessRecord
from workers.queues import QueueState, by_kind, depths

FLOWER_USER = "headrace"

ANSWER_SECONDS = 2
"""A status that waits longer for a server says nothing about it."""


def status(record: FleetRecord) -> dict[str, Any]:
    """The fields of `headrace status --json`; of a server that does not answer they are empty or None."""

    return {
        "ready": record.ready,
        "ingress_url": record.url("INGRESS_PORT"),
        "flower_url": record.url("FLOWER_PORT"),
        "flower_user": FLOWER_USER,
        "flower_password": record.chosen("FLOWER_PASSWORD"),
        "metrics_url": record.url("EXPORTER_PORT") + "/metrics",
        "database_url": record.chosen("DATABASE_URL"),
        "broker_url": record.chosen("BROKER_URL"),
        "cache_url": record.chosen("CACHE_URL"),
        "processes": [_process(each, Path(record.chosen("DATA_DIR"))) for each in record.processes],
        "queues": [state._asdict() for state in _queues(record.chosen("BROKER_URL"))],
        "dead_letters": _dead_letters(),
        "recycles": recycles(),
    }


def _process(process: ProcessRecord, data_dir: Path) -> dict[str, Any]:
    pss = sum(_pss(each) for each in family(process.process.identity)) if process.process else 0
    return {
        "name": process.name,
        "pid": process.pid,
        "state": process.state,
        "restarts": process.restarts,
        "pss_bytes": pss,
        "health_url": _health_url(data_dir / HEALTH / process.name) if process.process else None,
    }


def _health_url(port_file: Path) -> str | None:
    """Where a worker's /livez, /readyz and /metrics are; None of what is no worker, or has only just begun."""
    try:
        return f"http://127.0.0.1:{int(port_file.read_text())}"
    except (OSError, ValueError):
        return None


def _pss(process: psutil.Process) -> int:
    try:
        memory = process.memory_full_info()
        return int(getattr(memory, "pss", memory.rss))  # only Linux divides shared pages among those who share them
    except (psutil.NoSuchProcess, psutil.AccessDenied):
        return 0


def _queues(broker_url: str) -> list[QueueState]:
    try:
        with connect(broker_url, timeout=ANSWER_SECONDS, master=settings().broker_master) as broker:
            return by_kind(depths(broker, settings().queues))
    except (redis.RedisError, ConfigurationError):
        return []


def _dead_letters() -> int | None:
    try:
        with read_session() as session:
            return sum(dead_letters.counts(session).values())
    except SQLAlchemyError:
        return None
