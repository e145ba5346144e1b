"""A run's result: as JSON for machines, as a table for people, and the one line that says what is wrong."""

import math
import platform
from datetime import datetime
from importlib.metadata import version
from typing import Any, NamedTuple

from rich.table import Table

from loadgen.audit import Fate
from loadgen.recorder import Latency

DISTRIBUTIONS = ("headrace", "celery", "kombu", "redis", "psycopg")


class Report(NamedTuple):
    """Everything about a run.

    Args:
        run: its name.
        parameters: what it was asked for, the seed included.
        started_at: when message 0 was due.
        fate: the account of the messages.
        uncertain: of the rejected, those whose answers do not tell whether they were taken.
        unsent: messages due and never sent.
        refusals: answers other than an acknowledgement, and how often.
        achieved_rate: stored messages a second, from the first due to the last stored; 0 when none was.
        latencies: by name: ``acknowledgement`` and ``due_to_committed`` count from the due time, ``accepted_to_committed``
            from the rows' `received_at`.
        generator: what the generator itself took: ``cpu_seconds``, ``cpu_cores`` while sending, ``pacer_lag_ms_max``.
        database_version: the server's.
        database_clock_ahead_seconds: of the database's clock against the generator's.
    """

    run: str
    parameters: dict[str, Any]
    started_at: datetime
    fate: Fate
    uncertain: int
    unsent: int
    refusals: dict[str, int]
    achieved_rate: float
    latencies: dict[str, Latency]
    generator: dict[str, float]
    database_version: str
    database_clock_ahead_seconds: float

    def faults(self) -> list[str]:
        """What is wrong, in words; a run in which nothing was accepted proves nothing and is a fault too."""
        if self.fate.accepted:
            return self.fate.faults()
        reasons = ", ".join(f"{reason} {count:,} times" for reason, count in sorted(self.refusals.items()))
        return [f"no message was accepted ({reasons or 'none was sent'})"]

    def as_json(self) -> dict[str, Any]:
        """For a file: counts at the top; a percentile without a sample is null."""
        return {
            "run": self.run,
            **self.parameters,
            "started_at": self.started_at,
            "clean": not self.faults(),
            **self.fate._asdict(),
            "uncertain": self.uncertain,
            "unsent": self.unsent,
            "refusals": self.refusals,
            "achieved_rate": self.achieved_rate,
            "latency_ms": {name: _without_nan(latency) for name, latency in self.latencies.items()},
            "generator": self.generator,
            "database_clock_ahead_seconds": self.database_clock_ahead_seconds,
            "versions": {
                **{name: version(name) for name in DISTRIBUTIONS},
                "python": platform.python_version(),
                "postgresql": self.database_version,
            },
        }

    def as_tables(self) -> list[Table]:
        """For a terminal."""
        counts = Table()
        counts.add_column("messages")
        counts.add_column(f"via {self.parameters['via']}", justify="right")
        for name, count in (*self.fate._asdict().items(), ("uncertain", self.uncertain), ("unsent", self.unsent)):
            style = "bold red" if count and name in ("lost", "duplicated", "reordered", "miscounted") else None
            counts.add_row(name.replace("_", "-"), f"{count:,}", style=style)
        for reason, count in sorted(self.refusals.items()):
            counts.add_row(f"refused: {reason}", f"{count:,}")
        counts.add_row("intended rate", f"{self.parameters['rate']:,.1f}/s")
        counts.add_row("achieved rate", f"{self.achieved_rate:,.1f}/s")
        counts.add_row("generator's CPU", f"{self.generator['cpu_cores']:.2f} cores")

        latencies = Table()
        for heading in ("latency in ms", *Latency._fields):
            latencies.add_column(heading, justify="left" if heading == "latency in ms" else "right")
        for name, latency in self.latencies.items():
            latencies.add_row(name.replace("_", " "), *("-" if math.isnan(value) else f"{value:,.1f}" for value in latency))
        return [counts, latencies]


def _without_nan(latency: Latency) -> dict[str, float | None]:
    return {name: None if math.isnan(value) else value for name, value in latency._asdict().items()}
