"""`headrace up --detach`: the fleet goes on in a process of its own; this one shows the start and returns once it is over."""

import os
import select
import signal
import sys
import traceback
from collections.abc import Callable
from pathlib import Path

from shared.errors import HeadraceError
from workers.local.log_file import open_log
from workers.local.record import FleetRecord, load

POLL_SECONDS = 0.1


def detach(run: Callable[[], None], data_dir: Path, show: Callable[[FleetRecord], None]) -> None:
    """Call ``run`` in a session of its own and return once its fleet is ready.

    Args:
        run: supervises until it is told to stop.
        data_dir: absolute, made already; ``logs/supervisor.log`` takes what ``run`` prints.
        show: called while it starts.

    Raises HeadraceError with the reason that ``run`` gave when it ended before.
    """
    reader, writer = os.pipe()  # carries the reason of a failure, which may be a secret's neighbour: not by a file
    sys.stdout.flush()
    child = os.fork()
    if child == 0:
        os.close(reader)
        os._exit(_run_apart(run, data_dir, writer))
    os.close(writer)
    try:
        while not select.select([reader], [], [], POLL_SECONDS)[0]:
            record = load(data_dir)
            if record.supervisor and record.supervisor.pid == child:
                show(record)
                if record.ready:
                    return
        raise HeadraceError(os.read(reader, 65536).decode() or f"the start was interrupted; see {_log(data_dir)}")
    except KeyboardInterrupt:
        os.kill(child, signal.SIGTERM)
        os.waitpid(child, 0)
        raise
    finally:
        os.close(reader)


def _run_apart(run: Callable[[], None], data_dir: Path, failure: int) -> int:
    os.setsid()
    _log(data_dir).parent.mkdir(mode=0o700, exist_ok=True)
    with open_log(_log(data_dir)) as log, Path(os.devnull).open("rb") as nothing:
        for ours, its in ((0, nothing), (1, log), (2, log)):
            os.dup2(its.fileno(), ours)
    try:
        run()
    except HeadraceError as error:
        os.write(failure, str(error).encode()[:65536])
        return 1
    except BaseException:  # noqa: BLE001 - whatever it is, the copy must end here and not go on as its parent
        traceback.print_exc()
        os.write(failure, f"the supervisor failed; see {_log(data_dir)}".encode())
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
    return 0


def _log(data_dir: Path) -> Path:
    return data_dir / "logs" / "supervisor.log"
