"""`headrace flower|exporter`: one process in the foreground. Each logs to stderr and ends within a second of SIGTERM."""

import signal
import sys
import threading
from typing import Any

import click

from shared import log
from shared.errors import ConfigurationError
from shared.settings import settings

FLOWER_USER = "headrace"
FLOWER_TASKS_MAX = 5_000
"""One task a batch: some minutes of history at full rate, about 20 MB."""


@click.command()
def exporter() -> None:
    """The Prometheus exporter in the foreground: /metrics of the queues and of every process that shares our counters."""
    from shared.db.engine import use  # noqa: PLC0415
    from workers.exporter.all_sources import all_sources  # noqa: PLC0415
    from workers.exporter.database import EXPORTER  # noqa: PLC0415
    from workers.exporter.loop import Exporter  # noqa: PLC0415

    log.configure("exporter")
    use(EXPORTER)
    config = settings()
    it = Exporter(all_sources(config))
    stop = threading.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: stop.set())
    it.run(config.admin_host, config.exporter_port, stop)


@click.command()
def flower() -> None:
    """Flower's web UI in the foreground, for the user `headrace` and HEADRACE_FLOWER_PASSWORD.

    Its /metrics and /healthcheck stay open to whoever reaches the port.
    """
    config = settings()
    if not config.flower_password:
        raise ConfigurationError("Flower can stop workers, so it wants a password: set HEADRACE_FLOWER_PASSWORD")
    log.configure("flower")
    signal.signal(signal.SIGTERM, _exit)
    ui = _flower()
    try:
        ui.start_http_server()
    except OSError as error:
        where = f"{config.admin_host}:{config.flower_port}"
        raise ConfigurationError(f"cannot listen on {where}: {error.strerror}; set HEADRACE_FLOWER_PORT") from None
    try:
        ui.start()
    finally:
        ui.stop()


def _flower() -> Any:
    """Flower's web application. Options are set here and not on a command line, where `ps` would show the password."""
    from flower.app import Flower  # noqa: PLC0415 - takes a second
    from flower.command import extract_settings, setup_logging  # noqa: PLC0415
    from flower.urls import settings as web_settings  # noqa: PLC0415
    from tornado.options import options  # noqa: PLC0415

    from shared.app import app  # noqa: PLC0415

    config = settings()
    options.basic_auth = [f"{FLOWER_USER}:{config.flower_password}"]
    options.address = config.admin_host
    options.port = config.flower_port
    options.max_tasks = FLOWER_TASKS_MAX
    options.enable_events = False  # workers send one event a batch as it is; Flower would switch on more
    options.purge_offline_workers = 3600  # seconds; else each worker that ever was stays listed
    extract_settings()
    setup_logging()
    return Flower(capp=app, options=options, **web_settings)


def _exit(*_: object) -> None:
    sys.exit(0)
