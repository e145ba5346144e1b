"""Every setting, typed and frozen, read once. The only place that reads the environment.

A value comes from ``HEADRACE_<NAME>`` or, for what a fleet running here chose by itself (its URLs and ports), from the
``environment`` entry of ``fleet.json`` in the data directory; so ``headrace account create`` finds the embedded servers
without a flag.
"""

import json
import os
import re
from functools import lru_cache
from pathlib import Path
from typing import Any

from pydantic import Field, ValidationError
from pydantic_settings import BaseSettings, PydanticBaseSettingsSource, SettingsConfigDict

from shared.errors import ConfigurationError
from shared.topology import LANES_DEFAULT, LANES_MAX, all_queues

PREFIX = "HEADRACE_"
FLEET_FILE = "fleet.json"

# Up to the last @ of each URL of a list: a password may hold anything, a slash too.
_PASSWORD = re.compile(r"(://[^:@/\s]*:)(?:(?!;\w+://)\S)*@")
_PASSWORD_IN_QUERY = re.compile(r"([?&]\w*password=)[^&\s]*")


class FleetFile(PydanticBaseSettingsSource):
    """What the fleet of this data directory wrote down about itself; nothing when none has run."""

    def get_field_value(self, field: Any, field_name: str) -> tuple[Any, str, bool]:
        return None, field_name, False

    def __call__(self) -> dict[str, Any]:
        data_dir = Path(self.current_state.get("data_dir", Settings.model_fields["data_dir"].default))
        try:
            environment = json.loads((data_dir / FLEET_FILE).read_bytes())["environment"]
        except (OSError, ValueError, KeyError):
            return {}
        return {key.removeprefix(PREFIX).lower(): value for key, value in environment.items()}


class Settings(BaseSettings):
    """The fleet's settings. Each number says its unit, its bound and its reason."""

    model_config = SettingsConfigDict(env_prefix=PREFIX, frozen=True, extra="ignore")

    data_dir: Path = Field(Path(".headrace"), description="holds every file that `headrace up` writes")
    database_url: str = Field("", description="postgresql://user:password@host/name; empty: the embedded server")
    replica_url: str = Field("", description="postgresql:// of a streaming replica that may serve reads; empty: none")
    broker_url: str = Field("", description="redis://, rediss://, redis+socket://, sentinel:// of the broker; empty: embedded")
    broker_master: str = Field("mymaster", description="what the Sentinels of a sentinel:// URL call the broker")
    cache_url: str = Field(
        "",
        description="redis://, rediss://, sentinel://, cluster:// of the cache, not the broker's server; empty: embedded",
    )
    log_level: str = Field("INFO", pattern="^(DEBUG|INFO|WARNING|ERROR)$", description="of every process")

    ingress_host: str = Field("127.0.0.1", description="address the ingress listens on; a container wants 0.0.0.0")
    ingress_port: int = Field(8080, ge=1, le=65535, description="port of the ingress")
    ingress_share_port: bool = Field(
        False, description="take the port over from another ingress of the same user, which is then stopped: a rolling restart"
    )
    ingress_leave_seconds: float = Field(
        2, ge=0, le=60, description="a stopping ingress sends its clients elsewhere for this long; a load balancer may want 10"
    )
    admin_host: str = Field("127.0.0.1", description="address the exporter and Flower listen on; a container wants 0.0.0.0")
    exporter_port: int = Field(8081, ge=1, le=65535, description="port of the exporter")
    flower_port: int = Field(5555, ge=1, le=65535, description="port of Flower")
    flower_password: str = Field("", description="basic-auth password of Flower's user `headrace`")
    log_format: str = Field(
        "auto", pattern="^(auto|json|text)$", description="auto: text on a terminal, JSON lines everywhere else"
    )
    metrics: bool = Field(True, description="count at all; `off` is for measuring what counting costs")
    health_port: int = Field(0, ge=0, le=65535, description="port of a worker's /livez, /readyz and /metrics; 0: none")
    health_port_file: str = Field(
        "", description="file into which a worker without a health port writes the free one that it took; `headrace up` sets it"
    )
    health_stall_seconds: float = Field(
        30, ge=1, le=600, description="work that waits this long beside an idle worker, or a loop that stands still, is a failure"
    )
    metrics_dir: str = Field("", description="directory where processes of one machine share counters; empty: each on its own")
    otlp_url: str = Field(
        "", pattern="^(https?://.+)?$", description="collector's OTLP/HTTP base, such as http://host:4318; empty: no tracing"
    )
    trace_ratio: float = Field(
        0.01, ge=0, le=1, description="share of requests traced when the caller does not say; a span costs about 50 us"
    )
    ready_file: str = Field("", description="file a worker touches once it consumes; for supervisors")

    autoscaler_workers_min: int = Field(1, ge=1, le=256, description="store workers that always run")
    autoscaler_workers_max: int = Field(4, ge=1, le=256, description="store workers at most: one for each two cores of the fleet")
    autoscaler_port: int = Field(0, ge=0, le=65535, description="port of the autoscaler's /metrics and /livez; 0: none")
    autoscaler_drain_seconds: float = Field(
        20, ge=5, le=600, description="a backlog is to be gone within this: shorter starts more workers for the same backlog"
    )
    autoscaler_stable_seconds: float = Field(
        120,
        ge=4,
        le=3_600,
        description="fewer workers must suffice for this long until one is let go; a quarter of it for the next",
    )
    autoscaler_memory_reserve_mb: int = Field(
        512, ge=0, le=1_000_000, description="memory of the host that no further worker may take: servers and the page cache"
    )

    task_modules: str = Field("", description="modules with batch tasks of your own, comma-separated; a worker imports them")
    task_queues: str = Field(
        "", pattern=r"^([a-z][a-z0-9_-]*(,[a-z][a-z0-9_-]*)*)?$", description="queues of these tasks: `a` for a task named `a.b`"
    )

    lanes: int = Field(LANES_DEFAULT, ge=1, le=LANES_MAX, description="order lanes of the fleet; a sweep visits each")
    worker_children: int = Field(2, ge=1, le=32, description="children of a store worker: one a core on the reference machine")
    prefetch_messages: int = Field(
        1_600,
        ge=1,
        le=10_000,
        description="messages a worker holds unsettled: for each child a full batch running and one waiting",
    )
    batch_messages_max: int = Field(
        400, ge=1, le=1_000, description="messages in one batch: half as many cost a sixth of the rate, twice as many win little"
    )
    batch_bytes_max: int = Field(
        8 * 2**20, ge=2**20, le=64 * 2**20, description="bytes of bodies in one batch: bounds a child's memory"
    )
    batch_timeout_seconds: int = Field(
        60, ge=5, le=600, description="a batch running longer is killed and bisected; far above every database time-out"
    )
    batch_attempts_max: int = Field(3, ge=1, le=20, description="runs alone before a message that raises is dead-lettered")
    lease_seconds: float = Field(
        15, ge=1, le=300, description="a worker silent for this long is dead, and its messages return; a third of it is the beat"
    )
    drain_seconds: int = Field(8, ge=1, le=300, description="a stopping worker finishes batches for this long")

    worker_memory_mb: int = Field(
        512, ge=64, le=65_536, description="a worker's processes together, shared pages once; twice what a busy one takes"
    )
    child_memory_mb: int = Field(
        192, ge=64, le=65_536, description="one child; above it is replaced between two batches. Full batches of 8 MiB take 80"
    )
    child_growth_mb: int = Field(
        96, ge=8, le=65_536, description="one child over what it was after its fork; full batches of 8 MiB take 45"
    )
    container_percent: int = Field(
        90,
        ge=50,
        le=99,
        description="of the container's memory limit; there the worker drains and exits, before the kernel kills",
    )
    cgroup_dir: Path = Field(Path("/sys/fs/cgroup"), description="where the container's memory limit is read")

    publish_linger_ms: float = Field(
        0.0, ge=0, le=100, description="how long a write waits for more than came during the one before"
    )
    publish_messages_max: int = Field(500, ge=1, le=10_000, description="messages in one write to the broker")
    publish_waiting_max: int = Field(
        20_000, ge=100, le=1_000_000, description="messages waiting for the broker; beyond it the ingress answers 503"
    )
    account_backlog_max: int = Field(
        50_000, ge=100, le=10_000_000, description="messages of one account on their way; beyond it 429: 100 MB of the broker"
    )
    account_backlog_shared_max: int = Field(
        2_000, ge=100, le=1_000_000, description="the same while other accounts send too: half a second of 2 cores"
    )
    broker_timeout_seconds: float = Field(5, ge=0.5, le=60, description="the broker's answer; then 503, and repeating is safe")

    database_pool: int = Field(8, ge=1, le=100, description="connections of one ingress; a worker's child keeps one")
    database_overflow: int = Field(
        2, ge=0, le=100, description="further connections of one ingress under pressure, closed on return: a burst of pages"
    )
    database_wait_seconds: float = Field(3, ge=0.1, le=60, description="for a free connection of the pool; then 503 at the edge")
    database_recycle_seconds: int = Field(
        1_800, ge=10, le=86_400, description="age at which a connection is replaced: a server process keeps what it once cached"
    )
    database_connect_seconds: int = Field(3, ge=1, le=60, description="opening one connection")
    database_statement_ms: int = Field(10_000, ge=100, le=600_000, description="one statement; the slowest seen takes 300 ms")
    database_lock_ms: int = Field(5_000, ge=50, le=60_000, description="waiting for a lock; a batch holds one about 10 ms")
    database_idle_transaction_ms: int = Field(
        15_000,
        ge=1_000,
        le=600_000,
        description="a transaction that does nothing is ended: a host cut off in the middle of one must not keep its locks",
    )
    database_pgbouncer: bool = Field(
        False, description="true when PgBouncer in transaction mode stands before database_url or replica_url"
    )
    replica_lag_ms_max: int = Field(
        1_000, ge=10, le=600_000, description="a replica further behind serves no reads until it has caught up"
    )
    database_slow_ms: int = Field(100, ge=1, le=600_000, description="a slower statement is counted, and its plan logged")
    repeated_queries_file: str = Field("", description="file that repeated SQL is written to; a test run fails by it")
    retention_days: int = Field(0, ge=0, le=36_500, description="days after which store.prune deletes a message; 0: never")
    lookup_seconds: float = Field(
        60, ge=0, le=300, description="a changed channel or key takes effect at once, and within this if the cache was not told"
    )

    cache_master: str = Field("mymaster", description="what the Sentinels of a sentinel:// URL call the cache")
    cache_timeout_ms: int = Field(
        250, ge=10, le=5_000, description="the cache's answer; then its breaker opens. The slowest seen takes 10 ms"
    )

    @classmethod
    def settings_customise_sources(
        cls, settings_cls: type[BaseSettings], *sources: PydanticBaseSettingsSource, **more: PydanticBaseSettingsSource
    ) -> tuple[PydanticBaseSettingsSource, ...]:
        return (more["init_settings"], more["env_settings"], FleetFile(settings_cls))

    @property
    def counts_for_fleet(self) -> bool:
        """Whether this process is one of those that share `metrics_dir`: told so by its environment. A command that merely reads
        what a fleet wrote down leaves no file there."""
        return bool(os.environ.get(f"{PREFIX}METRICS_DIR"))

    @property
    def own_modules(self) -> list[str]:
        """`task_modules`, apart."""
        return [name.strip() for name in self.task_modules.split(",") if name.strip()]

    @property
    def own_queues(self) -> list[str]:
        """`task_queues`, apart."""
        return [name for name in self.task_queues.split(",") if name]

    @property
    def queues(self) -> list[str]:
        """Every queue of the fleet."""
        return all_queues(self.lanes, self.own_queues)

    def required(self, name: str) -> str:
        """The URL called ``name``, or ConfigurationError that says how to get one."""
        value: str = getattr(self, name)
        if not value:
            raise ConfigurationError(
                f"no {name}: start the embedded fleet (`headrace up`) in {self.data_dir}/ or set {PREFIX}{name.upper()}"
            )
        return value


@lru_cache(maxsize=1)
def settings() -> Settings:
    """The process's settings, read on first use. Raises ConfigurationError that names the variable at fault."""
    try:
        return Settings()
    except ValidationError as error:
        first = error.errors()[0]
        name = "".join(str(part) for part in first["loc"]).upper()
        raise ConfigurationError(f"{PREFIX}{name}: {first['msg']}") from None


def masked(url: str) -> str:
    """A URL, or a list of Sentinel's, that may be shown: every password replaced."""
    return _PASSWORD_IN_QUERY.sub(r"\1***", _PASSWORD.sub(r"\1***@", url))
