"""The servers a fleet stands on: an embedded one wherever no URL names another."""

from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

from shared.settings import PREFIX, Settings
from workers.local import postgres, redis, secret
from workers.local.program import Program
from workers.local.secret import Secret

NAMES = ("postgres", "broker", "cache")


class Servers(NamedTuple):
    """What to start, and how everyone else finds it.

    Args:
        programs: the embedded servers, prepared; none when every URL is set.
        environment: the URL of each of the three, as environment variables.
    """

    programs: list[Program]
    environment: dict[str, str]


def secrets_for(known: Mapping[str, Secret]) -> dict[str, Secret]:
    """A secret for each server, the known ones kept. Write them down before `servers` makes what they will open."""
    return {name: secret.renewed(known.get(name)) for name in NAMES}


def servers(data_dir: Path, config: Settings, secrets: Mapping[str, Secret]) -> Servers:
    """Those of the fleet in ``data_dir``, an absolute path. Raises HeadraceError, one line, when one cannot run here."""
    urls = {"database_url": config.database_url, "broker_url": config.broker_url, "cache_url": config.cache_url}
    programs = []
    if not config.database_url:
        programs.append(postgres.server(data_dir, secrets["postgres"]))
        urls["database_url"] = postgres.url(data_dir, secrets["postgres"])
    if not config.broker_url:
        programs.append(redis.broker(data_dir, secrets["broker"]))
        urls["broker_url"] = redis.url(secrets["broker"])
    if not config.cache_url:
        programs.append(redis.cache(data_dir, secrets["cache"]))
        urls["cache_url"] = redis.url(secrets["cache"])
    return Servers(programs, {PREFIX + name.upper(): value for name, value in urls.items()})
