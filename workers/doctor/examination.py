"""The examination: every dependency asked once, the rules applied to what it said. A server that does not answer is a finding."""

from collections.abc import Callable
from typing import TypeVar

import redis
from redis.exceptions import RedisClusterException
from sqlalchemy.exc import SQLAlchemyError

from shared.cache.client import open_client
from shared.clock import wall_seconds
from shared.db.engine import create, engine
from shared.db.migrate import revisions
from shared.db.session import read_session
from shared.errors import ConfigurationError
from shared.redis_client import connect, is_sentinel
from shared.settings import PREFIX, Settings
from shared.store import dead_letters
from workers.configuration import Facts, Fleet, faults
from workers.configuration import RedisFacts as Policies
from workers.doctor import database, fleet, redis_server
from workers.doctor.finding import NOTE, WRONG, Diagnosis, Finding

T = TypeVar("T")


class Examination:
    """One look at a fleet.

    Args:
        config: names the servers.
        policies: what a Redis tells of its configuration (`headrace check` asks the same).
    """

    def __init__(self, config: Settings, policies: Callable[[str, Settings], Policies]) -> None:
        self._config, self._policies = config, policies
        self._asked: dict[str, str | None] = {}
        self._findings: list[Finding] = []

    def run(self) -> Diagnosis:
        """Ask everyone. It takes the sum of their time-outs at most."""
        broker = self._ask("broker", "broker_url", lambda: redis_server.ask(self._redis(self._config.broker_url)))
        cache = self._ask("cache", "cache_url", self._ask_cache)
        if broker is not None:
            self._findings += redis_server.of_broker(broker, sentinel=is_sentinel(self._config.broker_url))
        if isinstance(cache, redis_server.RedisFacts):
            self._findings += redis_server.of_cache(cache)
        self._examine_database(broker)
        workers = self._examine_fleet() if broker is not None else 1
        self._findings += self._configured(workers, broker is not None, isinstance(cache, redis_server.RedisFacts))
        return Diagnosis(self._asked, sorted(self._findings, key=lambda finding: finding.level != WRONG))

    def _ask_cache(self) -> redis_server.RedisFacts | str:
        """A Cluster only says that it answers: each of its nodes is a server of its own."""
        url, master = self._config.cache_url, self._config.cache_master
        with open_client(url, timeout=self._config.broker_timeout_seconds, master=master) as client:
            if isinstance(client, redis.Redis):
                return redis_server.ask(client)
            client.ping()
            return f"a Redis Cluster of {len(client.get_nodes())} nodes"

    def _examine_database(self, broker: redis_server.RedisFacts | None) -> None:
        def ask() -> database.DatabaseFacts:
            with engine().connect() as connection:
                return database.ask(connection, revisions(connection))

        facts = self._ask("database", "database_url", ask)
        if facts is not None:
            self._findings += database.of_database(facts, wall_seconds() + broker.skew_seconds if broker else None)
        if self._config.replica_url:
            replica = self._ask("replica", "replica_url", self._ask_replica)
            self._findings += database.of_replica(replica) if replica else ()

    def _ask_replica(self) -> database.ReplicaFacts:
        reader = create(self._config, "replica")
        try:
            with reader.connect() as connection:
                return database.ask_replica(connection)
        finally:
            reader.dispose()

    def _examine_fleet(self) -> int:
        def ask() -> fleet.FleetFacts:
            return fleet.ask(self._redis(self._config.broker_url), self._config.queues)

        def letters() -> int:
            with read_session() as session:
                return sum(dead_letters.counts(session).values())

        facts = self._ask("workers", "broker_url", ask)
        if facts is None:
            return 1
        dead = self._ask("dead letters", "database_url", letters) if self._asked.get("database") else None
        self._findings += [*fleet.of_workers(facts, self._config.lanes), *fleet.of_queues(facts, dead)]
        return max(1, len(facts.live))

    def _configured(self, workers: int, broker: bool, cache: bool) -> list[Finding]:
        """What `headrace check` would say, of the servers that answered."""
        facts = Facts(
            broker=self._policies_of(self._config.broker_url) if broker else None,
            cache=self._policies_of(self._config.cache_url) if cache else None,
        )
        found = faults(self._config, facts, Fleet(workers, 1))
        return [
            Finding(_target(fault.setting), WRONG if fault.serious else NOTE, f"{fault.setting}: {fault.problem}", fault.fix)
            for fault in found
        ]

    def _policies_of(self, url: str) -> Policies | None:
        try:
            return self._policies(url, self._config)
        except redis.RedisError:  # it answered a moment ago, and will say at the next look what it is
            return None

    def _redis(self, url: str) -> redis.Redis:
        return connect(url, timeout=self._config.broker_timeout_seconds, master=self._config.broker_master)

    def _ask(self, target: str, setting: str, ask: Callable[[], T]) -> T | None:
        """What it answered; None, and a finding, when it did not."""
        variable = PREFIX + setting.upper()
        self._asked[target] = None
        try:
            self._config.required(setting)
            answer = ask()
        except (SQLAlchemyError, redis.RedisError, RedisClusterException, ConfigurationError, ValueError) as error:
            reason = next(iter(str(getattr(error, "orig", None) or error).splitlines()), type(error).__name__)
            self._findings.append(Finding(target, WRONG, f"no answer: {reason}", f"start the server, or correct {variable}"))
            return None
        self._asked[target] = f"{answer:,}" if isinstance(answer, int) else str(answer)
        return answer


def _target(setting: str) -> str:
    return {"HEADRACE_BROKER_URL": "broker", "HEADRACE_CACHE_URL": "cache"}.get(setting, "settings")
