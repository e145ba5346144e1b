"""Workers and an ingress of ours on a broker of the test's own, killed and started again at will."""

import random
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress

import psutil
from celery import Celery
from pytest_celery import CeleryTestWorker

from tests.conftest import RunningStack
from tests.foreground import status
from tests.nodes import ProcessContainer, worker_node
from tests.redis_server import RedisServer
from workers.local.ports import choose

LEASE_SECONDS = 2
RECOVERY_SECONDS = 30.0


class Watched(ProcessContainer):
    """A worker that also does what `tests.chaos.watched_worker` says."""

    def command(self) -> list[str]:
        return [sys.executable, "-m", "tests.chaos.watched_worker", "worker", "--name", self.name]


class IngressProcess(ProcessContainer):
    """An ingress, on the same port whenever it is started."""

    def __init__(self, name: str, environment: dict[str, str]) -> None:
        self.port = choose(0)
        super().__init__(name, {**environment, "HEADRACE_INGRESS_PORT": str(self.port)})

    def command(self) -> list[str]:
        return [sys.executable, "-m", "workers.cli.main", "ingress"]

    def _is_ready(self) -> bool:
        assert self.status == "running", self.logs()[-3000:]
        with suppress(OSError):
            return status(f"http://127.0.0.1:{self.port}/livez") == 200
        return False

    def kill_and_start(self) -> None:
        """SIGKILL to its process and its children, and a start."""
        with suppress(psutil.Error):
            for process in self.tree():
                process.kill()
        self.wait()
        self.start()


class Fleet:
    """See the module. Each process that it started is gone after `end`.

    Args:
        stack: whose Postgres is used.
        broker: a server of the test's own.
        broker_url: another way to it, through a proxy.
    """

    def __init__(self, stack: RunningStack, broker: RedisServer, broker_url: str = "") -> None:
        self.broker = broker
        self.environment = {
            **stack.environment,
            "HEADRACE_BROKER_URL": broker_url or broker.url,
            "HEADRACE_LEASE_SECONDS": str(LEASE_SECONDS),
            "HEADRACE_BROKER_TIMEOUT_SECONDS": "1.5",  # less than the lease, as `headrace check` demands
        }
        self._app = Celery("chaos", broker=broker.url, set_as_current=False)
        self.workers: list[ProcessContainer] = []

    def start(self, name: str, **environment: str) -> ProcessContainer:
        """A worker that consumes."""
        node: CeleryTestWorker = worker_node(name, {**self.environment, **environment}, self._app)
        self.workers.append(node.container)
        return node.container

    def start_together(
        self, *names: str, kind: type[ProcessContainer] = ProcessContainer, **environment: str
    ) -> list[ProcessContainer]:
        """Several, which come up side by side."""
        new = [kind(name, {**self.environment, **environment}) for name in names]
        self.workers += new
        for worker in new:
            worker.start()
        for worker in new:
            worker.ready()
        return new

    def kill_parent(self, number: int) -> None:
        """SIGKILL to a worker's parent; it is started again at once, as a supervisor would."""
        worker = self.workers[number % len(self.workers)]
        worker.kill()
        worker.wait()
        worker.start()

    def kill_child(self, number: int) -> None:
        """SIGKILL to a pool child, if there is one just now."""
        worker = self.workers[number % len(self.workers)]
        with suppress(psutil.Error):
            children = worker.tree()[1:]
            if children:
                random.Random(number).choice(children).kill()

    def kill_in_window(self, number: int, meanwhile: Callable[[], object]) -> None:
        """SIGSTOP to a worker's parent, ``meanwhile`` messages come, up to 30 ms of freedom, SIGKILL, a start.

        A server that hands a message to the stopped worker finds nobody who records it.
        """
        worker = self.workers[number % len(self.workers)]
        worker.kill(signal.SIGSTOP)
        meanwhile()
        if number % 2:
            worker.kill(signal.SIGCONT)
            threading.Event().wait(number / 2000)
        self.kill_parent(number)

    def terminate(self, number: int, within: float) -> None:
        """SIGTERM; it must end by itself in time, and is started again."""
        worker = self.workers[number % len(self.workers)]
        self.ready()
        worker.kill(signal.SIGTERM)
        assert worker.wait(within) == 0
        worker.start()

    def ready(self) -> None:
        """Every worker consumes. One that ended is started again, as a supervisor would: a child that is killed before it is up
        takes its parent with it."""
        for worker in self.workers:
            if worker.status != "running":
                worker.start()
        for worker in self.workers:
            worker.ready()

    def assert_alive(self) -> None:
        """No worker gave up."""
        for worker in self.workers:
            assert worker.status == "running", worker.logs()[-3000:]

    def end(self) -> None:
        """End every process."""
        for worker in self.workers:
            worker.teardown()


@contextmanager
def running_fleet(stack: RunningStack, broker: RedisServer, broker_url: str = "") -> Iterator[Fleet]:
    """A fleet without workers yet, for the length of a ``with``."""
    it = Fleet(stack, broker, broker_url)
    try:
        yield it
    finally:
        it.end()
