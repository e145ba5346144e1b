"""`headrace ingress`: the HTTP edge in the foreground."""

import click

from shared.settings import settings


@click.command()
def ingress() -> None:
    """The HTTP edge in the foreground: it answers 202 once the broker has confirmed, and drains on SIGTERM.

    HEADRACE_INGRESS_HOST and HEADRACE_INGRESS_PORT say where it listens.
    """
    from shared import log  # noqa: PLC0415 - `--help` loads neither logging nor the server
    from workers.ingress.server import serve  # noqa: PLC0415

    log.configure("ingress")
    serve(settings())
