"""What an embedded server needs to be found and entered: a password and a port, kept in fleet.json over restarts."""

import secrets

from msgspec import Struct

from workers.local import ports


class Secret(Struct, frozen=True):
    """Of one server."""

    password: str
    port: int


def renewed(known: Secret | None) -> Secret:
    """The secret for this start: the known one, on another port if something else took it; a new one when none is known."""
    if known is None:
        return Secret(secrets.token_hex(24), ports.choose(0))
    return Secret(known.password, ports.choose(known.port))
