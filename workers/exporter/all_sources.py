"""Everything that the exporter of a fleet asks, in one ordered list."""

from shared.cache.client import open_client
from shared.redis_client import connect
from shared.settings import Settings
from workers.exporter.consumers import Consumers
from workers.exporter.database import Database
from workers.exporter.queues import Queues
from workers.exporter.servers import Server
from workers.exporter.source import Source


def all_sources(config: Settings) -> list[Source]:
    """Of the servers that the settings name. Raises ConfigurationError without a broker or database; the cache may be missing."""
    config.required("database_url")
    timeout = config.broker_timeout_seconds
    broker = connect(config.required("broker_url"), timeout=timeout, master=config.broker_master)
    asked: list[Queues | Consumers | Server | Database] = [
        Queues(broker, config.queues),
        Consumers(broker, config.queues),
        Server("broker", lambda: broker),
        Database(),
    ]
    if config.cache_url:
        asked.append(Server("cache", lambda: open_client(config.cache_url, timeout=timeout, master=config.cache_master)))
    return [source for each in asked for source in each.sources()]
