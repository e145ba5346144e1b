"""fleet.json: what the fleet of a data directory knows of itself, for the next start, for `headrace down`, for every verb.

Replaced as a whole by a rename, so a reader or a crash finds the old or the new one. It holds passwords: mode 0600.
"""

import os
from pathlib import Path
from typing import Literal

import msgspec
from msgspec import Struct, field

from shared.errors import HeadraceError
from shared.settings import FLEET_FILE, PREFIX
from workers.local.identity import Identity, Stoppable
from workers.local.secret import Secret

State = Literal["starting", "running", "waiting", "draining", "stopped"]
"""Of a process: not ready yet, ready, dead and waiting to be started again, asked to end, ended on purpose."""


class ProcessRecord(Struct):
    """One process: enough to show it, and to end it when its supervisor no longer can.

    Args:
        stop_stage: of its `Program`.
        process: None while it is not there.
        last_exit: the exit status of the one before it, negative for a signal.
        extra: it is on its way in or out beside another; the fleet is ready without it.
    """

    name: str
    state: State
    restarts: int
    stop_stage: int
    process: Stoppable | None
    last_exit: int | None = None
    extra: bool = False

    @property
    def pid(self) -> int | None:
        """None while it is not there."""
        return self.process.identity.pid if self.process else None


class RestartRecord(Struct):
    """How far a rolling restart is.

    Args:
        id: of the request.
        state: of the whole.
        reason: what failed, or the process whose turn it is.
    """

    id: str
    state: Literal["running", "done", "failed"]
    reason: str = ""


class DemoAccount(Struct):
    """The account that the first start made."""

    id: str
    api_key: str


class FleetRecord(Struct):
    """The whole file.

    Args:
        supervisor: who writes this; None when no fleet runs.
        environment: HEADRACE_... that the fleet chose; every process and verb reads its settings here.
        complete: everything was ready once, so the start is over.
        secrets: of the embedded servers, kept for the next start.
        demo: None until made here.
        revision: of the database when it was prepared last.
        processes: in the order of their start.
        restart: the latest rolling restart.
    """

    supervisor: Identity | None = None
    environment: dict[str, str] = field(default_factory=dict)
    complete: bool = False
    secrets: dict[str, Secret] = field(default_factory=dict)
    demo: DemoAccount | None = None
    revision: str = ""
    processes: list[ProcessRecord] = field(default_factory=list)
    restart: RestartRecord | None = None

    def kept(self) -> "FleetRecord":
        """What outlives the fleet."""
        return FleetRecord(secrets=self.secrets, demo=self.demo, revision=self.revision)

    @property
    def ready(self) -> bool:
        """True while everything is ready."""
        return self.complete and all(each.state == "running" or each.extra for each in self.processes)

    def chosen(self, name: str) -> str:
        """The setting ``name``, upper case without prefix, as the fleet chose it; empty when it did not."""
        return self.environment.get(PREFIX + name, "")

    def url(self, port_name: str) -> str:
        """The address, on this machine, of what listens on the port in this setting."""
        return f"http://127.0.0.1:{self.chosen(port_name)}"

    def runs(self) -> bool:
        """True when its supervisor is alive."""
        return self.supervisor is not None and self.supervisor.find() is not None


def load(data_dir: Path) -> FleetRecord:
    """The record of ``data_dir``; an empty one when there is none. Raises HeadraceError when it cannot be read."""
    file = data_dir / FLEET_FILE
    try:
        return msgspec.json.decode(file.read_bytes(), type=FleetRecord)
    except (FileNotFoundError, NotADirectoryError):
        return FleetRecord()
    except (OSError, msgspec.MsgspecError) as error:
        raise HeadraceError(f"{file} cannot be read: {error}; mend: put back a good copy, or begin anew elsewhere") from None


def save(record: FleetRecord, data_dir: Path) -> None:
    """Replace the file."""
    file, draft = data_dir / FLEET_FILE, data_dir / f"{FLEET_FILE}.new"
    descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as output:
        output.write(msgspec.json.format(msgspec.json.encode(record)))
        output.flush()
        os.fsync(output.fileno())  # it may hold the only copy of the database's password
    draft.replace(file)
