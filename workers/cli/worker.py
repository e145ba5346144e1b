"""`headrace worker`: one worker in the foreground."""

import os
import socket

import click

from shared.settings import settings


@click.command()
@click.option("--role", type=click.Choice(["store"]), default="store", show_default=True, help="What it consumes.")
@click.option("--name", default="", help="Unique name of this worker; default: the role and the process id.")
def worker(role: str, name: str) -> None:
    """One worker in the foreground: it consumes, writes in batches, and drains on SIGTERM.

    The role `store` takes webhooks, messages and maintenance. Exits 75 when memory is nearly used up: start it again.
    """
    from celery.worker import state  # noqa: PLC0415

    from workers.app import app  # noqa: PLC0415 - Celery is loaded only by the processes that need it

    hostname = f"{name or f'{role}-{os.getpid()}'}@{socket.gethostname()}"
    arguments = ["worker", "--hostname", hostname, "--without-mingle", "--without-gossip", "--loglevel", settings().log_level]
    app.worker_main(arguments)
    raise click.exceptions.Exit(int(state.should_stop or 0))  # 0 after SIGTERM; see `workers.memory.guard`
