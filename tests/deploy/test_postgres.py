"""The PostgreSQL configuration, roles and PgBouncer that we ship: each role does its work and no more."""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psycopg
import pytest
from psycopg.errors import InsufficientPrivilege, ReadOnlySqlTransaction

from shared.db.migrate import upgrade
from tests.command_line import CommandLine
from tests.deploy.manifest import DEPLOY
from tests.deploy.postgres_server import PASSWORDS, Postgres, postgres, programs, run, told
from tests.nodes import ProcessContainer
from tests.redis_server import free_port
from tests.waiting import eventually
from workers.local.owner import as_owner, server_owner

PGBOUNCER = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")


@pytest.fixture(scope="module")
def server(stack: object, reachable_dir: Path) -> Iterator[Postgres]:
    """Migrated by the migrator."""
    with postgres(reachable_dir / "shipped") as it:
        with told(database_url=it.url("migrator")):
            upgrade()
        yield it


def test_the_roles_may_be_made_again(server: Postgres) -> None:
    server.make_roles()


def test_what_is_shipped_keeps_what_it_confirmed(server: Postgres) -> None:
    wanted = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on", "wal_level": "replica", "archive_mode": "on"}
    assert {name: server.query(f"SHOW {name}")[0][0] for name in wanted} == wanted


@pytest.mark.parametrize(
    ("role", "statement", "error"),
    [
        ("app", "CREATE TABLE mine (id int)", InsufficientPrivilege),
        ("app", "DROP TABLE messages", InsufficientPrivilege),
        ("app", "ALTER TABLE messages ADD COLUMN mine int", InsufficientPrivilege),
        ("app", "UPDATE alembic_version SET version_num = 'x' WHERE false; CREATE ROLE mine", InsufficientPrivilege),
        ("app", "SELECT * FROM pgbouncer.lookup('headrace_app')", InsufficientPrivilege),
        ("reader", "INSERT INTO accounts (name) VALUES ('mine')", (InsufficientPrivilege, ReadOnlySqlTransaction)),
        ("reader", "SET transaction_read_only = off; DELETE FROM messages", (InsufficientPrivilege, ReadOnlySqlTransaction)),
        ("pgbouncer", "SELECT * FROM public.accounts", InsufficientPrivilege),
        ("pgbouncer", "SELECT rolpassword FROM pg_authid", InsufficientPrivilege),
        ("migrator", "CREATE ROLE mine", InsufficientPrivilege),
    ],
)
def test_no_role_can_do_what_it_has_no_need_of(
    server: Postgres, role: str, statement: str, error: type[Exception] | tuple[type[Exception], ...]
) -> None:
    with psycopg.connect(server.url(role)) as connection, pytest.raises(error):
        connection.execute(statement)


def test_the_reader_sees_every_table_and_the_servers_statistics(server: Postgres) -> None:
    for (table,) in server.query("SELECT tablename FROM pg_tables WHERE schemaname = 'public'"):
        server.query(f"SELECT count(*) FROM {table}", "reader")
    assert server.query("SELECT count(*) FROM pg_stat_replication", "reader") == [(0,)]


def test_a_worker_stores_as_the_application(server: Postgres, clean: object) -> None:
    """`RunningStack` is the fixture's type; only its broker is used."""
    from shared.db.session import transact
    from shared.producer import Producer
    from shared.store import accounts
    from tests.factory import count, message, queued

    environment = {**clean.environment, "HEADRACE_DATABASE_URL": server.url("app")}  # type: ignore[attr-defined]
    worker = ProcessContainer("app", environment)
    with told(database_url=server.url("app")):
        account = transact(lambda session: accounts.create(session, "tenant")).id
        producer = Producer(clean.broker_url)  # type: ignore[attr-defined]
        try:
            worker.start()
            producer.publish([queued(account, message(f"m{number}", f"c{number % 7}")) for number in range(200)])
            eventually("all are stored", lambda: count("SELECT count(*) FROM messages") == 200, within=40)
        finally:
            producer.close()
            worker.teardown()


@pytest.mark.parametrize("role", ["app", "reader"])
def test_check_and_doctor_get_their_answers_from_a_plain_role(
    server: Postgres, clean: object, role: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headrace = CommandLine(monkeypatch, capsys)
    with told(database_url=server.url(role)):
        ended = headrace("check")
        assert ended.code == 0, ended.err
        found = json.loads(headrace("doctor", "--json").out)
    assert found["asked"]["database"].startswith("PostgreSQL")
    assert [each["problem"] for each in found["findings"]] == ["no worker holds a lease: nothing is stored"]


@contextmanager
def pgbouncer(server: Postgres, home: Path) -> Iterator[int]:
    """With our file, except for where things are; yields its port."""
    assert PGBOUNCER
    home.mkdir()
    port = free_port()
    users, file = home / "userlist.txt", home / "pgbouncer.ini"
    users.write_text(f'"headrace_pgbouncer" "{PASSWORDS["pgbouncer"]}"\n')
    text = (DEPLOY / "pgbouncer/pgbouncer.ini").read_text()  # not included and overridden: a second section would reset the first
    text = text.replace("host=postgres port=5432", f"host=127.0.0.1 port={server.port}")
    for name, value in {"listen_addr": "127.0.0.1", "listen_port": port, "auth_file": users}.items():
        text = re.sub(rf"^{name} = .*$", f"{name} = {value}", text, flags=re.MULTILINE)
    file.write_text(text)
    for path in (home, users, file):
        server.own(path)
    with (home / "log").open("ab") as log:
        process = subprocess.Popen([PGBOUNCER, file], cwd="/", stdout=log, stderr=log, **as_owner(server_owner()))
    try:

        def answers() -> bool:
            assert process.poll() is None, (home / "log").read_text()
            try:
                with psycopg.connect(f"postgresql://headrace_app:{PASSWORDS['app']}@127.0.0.1:{port}/headrace"):
                    return True
            except psycopg.OperationalError:
                return False

        try:
            eventually("PgBouncer answers", answers, within=20)
        except AssertionError as error:
            raise AssertionError((home / "log").read_text()[-500:] + (server.home / "log").read_text()[-1500:]) from error
        yield port
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.skipif(not PGBOUNCER, reason="no pgbouncer on this machine")
def test_pgbouncer_starts_with_our_file_and_lets_the_right_roles_through(server: Postgres) -> None:
    with pgbouncer(server, server.home / "pgbouncer") as port:
        url = "postgresql://headrace_{}:{}@127.0.0.1:{}/headrace"
        options = {"options": "-c statement_timeout=1"}  # what our engine asks for and PgBouncer drops; the role has its own
        with psycopg.connect(url.format("app", PASSWORDS["app"], port), **options, prepare_threshold=None) as connection:
            assert connection.execute("SHOW statement_timeout").fetchone() == ("10s",)
            assert connection.execute("SHOW lock_timeout").fetchone() == ("5s",)
        with psycopg.connect(url.format("reader", PASSWORDS["reader"], port)) as connection:
            assert connection.execute("SELECT count(*) FROM messages").fetchone()
        for role in ("migrator", "replication"):
            with pytest.raises(psycopg.OperationalError):
                psycopg.connect(url.format(role, PASSWORDS[role], port))
        with pytest.raises(psycopg.OperationalError):
            psycopg.connect(url.format("app", "wrong", port))
        admin = f"postgresql://headrace_pgbouncer:{PASSWORDS['pgbouncer']}@127.0.0.1:{port}/pgbouncer"
        with psycopg.connect(admin, autocommit=True, cursor_factory=psycopg.ClientCursor) as connection:
            shown = {row[0]: row[1] for row in connection.execute("SHOW CONFIG").fetchall()}
    assert shown["pool_mode"] == "transaction"


def test_a_standby_made_as_the_guide_says_follows(server: Postgres, reachable_dir: Path) -> None:
    standby = Postgres(reachable_dir / "standby")
    url = server.url("replication", "replication?application_name=standby1")
    source = ("-d", url, "-C", "-S", "standby1", "-c", "fast")
    run("pg_basebackup", "-D", standby.cluster, "-R", *source)
    try:
        standby.start()
        server.query("CREATE TABLE IF NOT EXISTS public.seen AS SELECT 42 AS it")
        server.query("GRANT SELECT ON public.seen TO headrace_reader")
        eventually("the standby has it", lambda: seen(standby), within=20)
        assert server.query("SELECT application_name, state FROM pg_stat_replication", "reader") == [("standby1", "streaming")]
        assert standby.query("SELECT pg_is_in_recovery()", "reader") == [(True,)]
    finally:
        standby.stop()
        server.query("DROP TABLE public.seen")
        eventually(
            "the slot is free",
            lambda: server.query("SELECT pg_drop_replication_slot(slot_name) FROM pg_replication_slots WHERE NOT active"),
        )


def seen(standby: Postgres) -> bool:
    try:
        return standby.query("SELECT it FROM public.seen", "reader") == [(42,)]
    except psycopg.errors.UndefinedTable:
        return False


def test_the_programs_are_there_that_the_guide_names() -> None:
    for name in ("pg_basebackup", "pg_verifybackup", "psql", "pg_dump", "pg_restore"):
        assert (programs() / name).exists(), name
