"""A host that is cut off and brought back, and ingresses that are killed and replaced behind HAProxy."""

import random
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import psycopg
import pytest
import redis
from sqlalchemy import make_url

from shared.broker import keys
from shared.db.session import transact
from shared.store import accounts, channels
from tests.chaos import load
from tests.chaos.fleet import LEASE_SECONDS, RECOVERY_SECONDS, Fleet, IngressProcess, running_fleet
from tests.chaos.form import long_form, sized
from tests.chaos.ledger import Ledger, slowest_seconds, stored
from tests.chaos.load import Load
from tests.chaos.report import show
from tests.conftest import RunningStack
from tests.factory import message, rows
from tests.foreground import status
from tests.haproxy import haproxy, needs_haproxy
from tests.hosts import Host, Network
from tests.nodes import ProcessContainer
from tests.redis_server import EMBEDDED, RedisServer, running
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually

INGRESS_PORT = 8080

HOLD = """
CREATE SEQUENCE held;
CREATE FUNCTION hold() RETURNS trigger LANGUAGE plpgsql AS $$
BEGIN
    IF NEW.message_id = 'held' AND nextval('held') = 1 THEN PERFORM pg_sleep(3); END IF;
    RETURN NEW;
END $$;
CREATE TRIGGER hold BEFORE INSERT ON messages FOR EACH ROW EXECUTE FUNCTION hold();
"""


class OnHost(ProcessContainer):
    """A worker on a host."""

    def __init__(self, host: Host, name: str, environment: dict[str, str]) -> None:
        self._host = host
        super().__init__(name, environment)

    def command(self) -> list[str]:
        return self._host.command(*super().command())


class IngressOnHost(OnHost):
    """An ingress on a host."""

    def command(self) -> list[str]:
        return [*super().command()[:-3], "ingress"]

    def _is_ready(self) -> bool:
        assert self.status == "running", self.logs()[-3000:]
        try:
            return status(f"http://{self._host.address}:{INGRESS_PORT}/livez") == 200
        except OSError:
            return False


@pytest.fixture
def hosts_broker(two_hosts: Network, tmp_path: Path) -> Iterator[RedisServer]:
    """One that the hosts reach."""
    if not EMBEDDED:
        pytest.skip("no redis-server in the venv")
    (tmp_path / "broker").mkdir()
    where = ("--bind", "127.0.0.1", two_hosts.address, "--protected-mode", "no")
    with running(EMBEDDED, tmp_path / "broker", "--appendonly", "yes", "--appendfsync", "always", *where) as server:
        yield server


@pytest.fixture
def hosts_fleet(clean: RunningStack, two_hosts: Network, hosts_broker: RedisServer) -> Iterator[Fleet]:
    """Told of its servers by the address that the hosts know."""
    here = two_hosts.address
    database, cache = make_url(clean.database_url), make_url(clean.cache_url)
    socket = database.query.get("host")
    target = Path(str(socket)) / ".s.PGSQL.5432" if socket else ("127.0.0.1", database.port or 0)
    with (
        TcpProxy.running(target, here) as to_database,
        TcpProxy.running(("127.0.0.1", cache.port or 0), here) as to_cache,
        running_fleet(clean, hosts_broker, f"redis://{here}:{hosts_broker.port}/0") as fleet,
    ):
        for name, url in {
            "DATABASE_URL": database.set(host=here, port=to_database.port, query={}),
            "CACHE_URL": cache.set(host=here, port=to_cache.port),
        }.items():
            fleet.environment[f"HEADRACE_{name}"] = url.render_as_string(hide_password=False)
        fleet.environment |= {"HEADRACE_INGRESS_HOST": "0.0.0.0", "HEADRACE_INGRESS_PORT": str(INGRESS_PORT)}
        yield fleet


def live_consumers(broker: redis.Redis) -> int:
    """Those whose lease stands."""
    seconds, micros = broker.time()
    return int(broker.zcount(keys.CONSUMERS, seconds * 1000 + micros // 1000, "+inf"))


@needs_haproxy
def test_a_host_that_is_cut_off_and_comes_back_loses_doubles_and_reorders_nothing(
    hosts_fleet: Fleet,
    two_hosts: Network,
    ledger: Ledger,
    dice: random.Random,
) -> None:
    """Each host runs an ingress and a worker; HAProxy, the broker and the database are elsewhere."""
    fleet, broker, cuts = hosts_fleet, hosts_fleet.broker, sized(1, 20)
    tenant = transact(lambda session: accounts.create(session, "tenant"))
    channel = transact(lambda session: channels.add(session, tenant.id, "standard"))
    for number, host in enumerate(two_hosts.hosts):
        fleet.start_together(f"ingress-{number}", kind=partial(IngressOnHost, host))
        fleet.start_together(f"worker-{number}", kind=partial(OnHost, host))
    with haproxy(*(f"{host.address}:{INGRESS_PORT}" for host in two_hosts.hosts)) as edge:
        loads = [
            Load(load.to_api(edge.port, tenant.api_key), ledger, "api", dice, conversations=20, batch=10, every=0.05),
            Load(load.to_webhooks(edge.port, channel), ledger, "hook", dice, conversations=20, batch=2, every=0.05),
            Load(load.to_lanes(broker.url, tenant.id), ledger, "lane", dice, conversations=100, batch=50, every=0.1),
            Load(load.to_messages(broker.url, tenant.id), ledger, "celery", dice, conversations=20, batch=5, every=0.1),
        ]
        for each in loads:
            each.start()
        for _ in range(cuts):
            host = dice.choice(two_hosts.hosts)
            before = stored()
            eventually("work is done", lambda before=before: stored() > before + 100, within=RECOVERY_SECONDS)
            host.cut()
            eventually("its lease ends", lambda: live_consumers(broker.client) == 1, within=3 * LEASE_SECONDS)
            before = len(ledger)
            eventually("the other goes on", lambda before=before: stored() > before + 100, within=RECOVERY_SECONDS)
            host.join()
            eventually("both are back", lambda: live_consumers(broker.client) == 2 and edge.up() == 2, within=RECOVERY_SECONDS)
        for each in loads:
            each.stop()
    ledger.settle(broker.client, within=RECOVERY_SECONDS)
    fleet.assert_alive()
    show("hosts", "a host cut off, no reset, and back", injections=cuts, messages=len(ledger), seconds=slowest_seconds())


@pytest.fixture
def hold(hosts_fleet: Fleet, clean: RunningStack) -> Iterator[str]:
    """The id of a message whose first insert takes three seconds, in the middle of its transaction."""
    with psycopg.connect(clean.database_url, autocommit=True) as connection:
        connection.execute(HOLD)
        yield "held"
        connection.execute("DROP FUNCTION hold() CASCADE; DROP SEQUENCE held")


@long_form
def test_a_host_cut_off_in_the_middle_of_a_transaction_does_not_keep_its_locks(
    hosts_fleet: Fleet, two_hosts: Network, account: str, hold: str, ledger: Ledger
) -> None:
    """Its session lives on in the server, which has heard of no cut, and holds the conversation's row."""
    fleet, broker = hosts_fleet, hosts_fleet.broker
    workers = [
        fleet.start_together(f"worker-{number}", kind=partial(OnHost, host))[0] for number, host in enumerate(two_hosts.hosts)
    ]
    messages = [message(hold, "c"), *(message(f"m{number}", "c") for number in range(20))]
    load.to_lanes(broker.url, account)(messages)
    ledger.enter(messages)
    busy = "SELECT application_name FROM pg_stat_activity WHERE wait_event = 'PgSleep'"
    ((name,),) = eventually("the insert is under way", lambda: rows(busy), within=RECOVERY_SECONDS)
    pid = int(name.rpartition("-")[2])
    (host,) = (host for host, worker in zip(two_hosts.hosts, workers, strict=True) if pid in {each.pid for each in worker.tree()})
    host.cut()
    eventually("the other has stored them", lambda: stored() == len(messages), within=RECOVERY_SECONDS)
    host.join()
    ledger.settle(broker.client, within=RECOVERY_SECONDS)
    fleet.assert_alive()
    show("hosts", "a host cut off within a transaction", injections=1, messages=len(ledger), seconds=slowest_seconds())


@needs_haproxy
def test_an_ingress_killed_or_stopped_behind_haproxy_under_load_fails_no_request(
    fleet: Fleet, ledger: Ledger, dice: random.Random
) -> None:
    """Nobody repeats anything but HAProxy."""
    tenant = transact(lambda session: accounts.create(session, "tenant"))
    channel = transact(lambda session: channels.add(session, tenant.id, "standard"))
    ingresses = [IngressProcess(f"ingress-{number}", fleet.environment) for number in range(2)]
    ends = sized(4, 40)
    with ExitStack() as ending:
        for ingress in ingresses:
            ending.callback(ingress.teardown)
            ingress.start()
        fleet.start("w1")
        for ingress in ingresses:
            ingress.ready()
        edge = ending.enter_context(haproxy(*(f"127.0.0.1:{ingress.port}" for ingress in ingresses)))
        loads = [
            Load(send, ledger, f"{name}{number}", dice, conversations=20, batch=2, every=0)
            for number in range(3)
            for name, send in {
                "api": load.to_api(edge.port, tenant.api_key),
                "hook": load.to_webhooks(edge.port, channel),
            }.items()
        ]
        for each in loads:
            each.start()
        for number in range(ends):
            ingress = ingresses[number % 2]
            before = len(ledger)
            eventually("requests pass", lambda before=before: len(ledger) > before + 100, within=RECOVERY_SECONDS)
            ingress.kill("SIGKILL" if dice.random() < 0.5 else "SIGTERM")
            ingress.wait()
            eventually("requests pass", lambda before=before: len(ledger) > before + 200, within=RECOVERY_SECONDS)
            ingress.start()
            ingress.ready()
            eventually("HAProxy takes it again", lambda: edge.up() == 2, within=RECOVERY_SECONDS)
        for each in loads:
            each.stop()
    refusals = sum(each.refusals for each in loads)
    ledger.settle(fleet.broker.client, within=RECOVERY_SECONDS)
    show(
        "edges",
        "kill -9 or SIGTERM of an ingress behind HAProxy",
        injections=ends,
        messages=len(ledger),
        more=f"{refusals} failed",
    )
    assert refusals == 0
