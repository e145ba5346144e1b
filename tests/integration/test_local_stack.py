"""The embedded servers: durable, closed to others, usable by stock clients, replaced one by one by URLs."""

import multiprocessing
import os
import pwd
import signal
import subprocess
from pathlib import Path
from urllib.parse import urlsplit

import psutil
import psycopg
import pytest
import redis
from sqlalchemy import create_engine, text

from shared.settings import Settings
from tests.conftest import RunningStack
from tests.waiting import eventually
from workers.local.child import Child
from workers.local.identity import end
from workers.local.servers import secrets_for, servers


def password_of(url: str) -> str:
    return urlsplit(url).password or ""


def test_the_database_url_works_verbatim_with_sqlalchemy_and_psycopg(stack: RunningStack) -> None:
    with psycopg.connect(stack.database_url) as connection:
        assert connection.execute("SELECT current_database(), current_setting('synchronous_commit')").fetchone() == (
            "headrace",
            "on",
        )
    engine = create_engine(stack.database_url)
    with engine.connect() as connection:
        assert connection.execute(text("SELECT version_num FROM alembic_version")).scalar_one()
    engine.dispose()


def test_the_broker_keeps_everything_and_the_cache_keeps_what_fits(clean: RunningStack) -> None:
    def configured(url: str, *names: str) -> list[str]:
        with redis.Redis.from_url(url, decode_responses=True) as server:
            return [server.config_get(name)[name] for name in names]

    persistence = ("appendonly", "appendfsync", "save", "maxmemory-policy")
    assert configured(clean.broker_url, *persistence) == ["yes", "always", "", "noeviction"]
    assert configured(clean.cache_url, "appendonly", "save", "maxmemory-policy") == ["no", "", "allkeys-lfu"]
    assert all(int(*configured(url, "maxmemory")) > 0 for url in (clean.broker_url, clean.cache_url))


def test_nobody_gets_in_without_the_password(stack: RunningStack) -> None:
    for url in (stack.broker_url, stack.cache_url):
        for wrong in (url.replace(password_of(url), "guess"), url.replace(f":{password_of(url)}@", "")):
            with redis.Redis.from_url(wrong) as client, pytest.raises(redis.AuthenticationError):
                client.ping()
    for wrong in ("guess", ""):
        with pytest.raises(psycopg.OperationalError, match="password"):
            psycopg.connect(stack.database_url.replace(password_of(stack.database_url), wrong))


def test_no_password_is_on_a_command_line_or_in_a_file_that_others_read(stack: RunningStack) -> None:
    secrets = [password_of(url) for url in (stack.database_url, stack.broker_url, stack.cache_url)]
    for process in psutil.Process().children(recursive=True):
        assert not any(secret in word for secret in secrets for word in process.cmdline())
    for file in (each for each in stack.data_dir.rglob("*") if each.is_file()):
        closed = any(not above.stat().st_mode & 0o007 for above in (file, *file.parents) if above.is_relative_to(stack.data_dir))
        assert closed or not any(secret.encode() in file.read_bytes() for secret in secrets), file


@pytest.fixture
def own_servers(reachable_dir: Path) -> Path:
    """A directory for servers that a test breaks."""
    data_dir = reachable_dir / "broken"
    data_dir.mkdir(mode=0o711)
    return data_dir


def test_what_was_confirmed_is_there_after_a_kill(own_servers: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "BROKER_URL", "CACHE_URL"):
        monkeypatch.delenv(f"HEADRACE_{name}", raising=False)
    config, secrets = Settings(data_dir=own_servers), {}
    children: list[Child] = []

    def start() -> dict[str, str]:
        secrets.update(secrets_for(secrets))
        chosen = servers(own_servers, config, secrets)
        children[:] = [Child(program, own_servers / f"{program.name}.log") for program in chosen.programs]
        eventually("the servers are ready", lambda: all(child.program.is_ready() for child in children), within=30)
        return chosen.environment

    try:
        urls = start()
        with psycopg.connect(urls["HEADRACE_DATABASE_URL"], autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 1 AS one")
        with redis.Redis.from_url(urls["HEADRACE_BROKER_URL"]) as broker:
            broker.lpush("kept", "one")
        for child in children:
            os.kill(child.identity.pid, signal.SIGKILL)
            child.reap()
        assert start() == urls  # clients need not learn anything
        with psycopg.connect(urls["HEADRACE_DATABASE_URL"]) as connection:
            assert connection.execute("SELECT one FROM kept").fetchone() == (1,)
        with redis.Redis.from_url(urls["HEADRACE_BROKER_URL"]) as broker:
            assert broker.lrange("kept", 0, -1) == [b"one"]
    finally:
        end(child.stoppable for child in children)


@pytest.mark.parametrize(
    ("variable", "server"),
    [("HEADRACE_DATABASE_URL", "postgres"), ("HEADRACE_BROKER_URL", "broker"), ("HEADRACE_CACHE_URL", "cache")],
)
def test_a_url_in_the_environment_replaces_its_server_and_no_other(
    stack: RunningStack, reachable_dir: Path, monkeypatch: pytest.MonkeyPatch, variable: str, server: str
) -> None:
    for name in ("HEADRACE_DATABASE_URL", "HEADRACE_BROKER_URL", "HEADRACE_CACHE_URL"):
        monkeypatch.delenv(name)
    monkeypatch.setenv(variable, "redis://elsewhere/0")
    data_dir = reachable_dir / f"without-{server}"
    data_dir.mkdir(mode=0o711)
    chosen = servers(data_dir, Settings(data_dir=data_dir), secrets_for({}))
    assert {program.name for program in chosen.programs} == {"postgres", "broker", "cache"} - {server}
    assert chosen.environment[variable] == "redis://elsewhere/0"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
def test_postgres_runs_as_an_ordinary_user_and_its_files_are_closed(stack: RunningStack) -> None:
    home = stack.data_dir / "postgres"
    assert home.stat().st_uid != 0
    assert home.stat().st_mode & 0o077 == 0
    postmaster = psutil.Process(int((home / "data" / "postmaster.pid").read_text().split()[0]))
    assert postmaster.uids().effective == home.stat().st_uid
    assert postmaster.gids().effective != 0
    looked = subprocess.run(["ls", home], user="nobody", group=65534, extra_groups=[], capture_output=True, check=False)
    assert looked.returncode != 0


@pytest.mark.skipif(os.geteuid() != 0, reason="the other tests are of an ordinary user then")
def test_an_ordinary_user_runs_every_server_as_himself(reachable_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("DATABASE_URL", "BROKER_URL", "CACHE_URL"):
        monkeypatch.delenv(f"HEADRACE_{name}", raising=False)
    nobody = pwd.getpwnam("nobody")
    data_dir = reachable_dir / "ordinary"
    data_dir.mkdir(mode=0o700)
    os.chown(data_dir, nobody.pw_uid, nobody.pw_gid)

    def as_nobody() -> None:
        os.setgroups([])
        os.setgid(nobody.pw_gid)
        os.setuid(nobody.pw_uid)
        chosen = servers(data_dir, Settings(data_dir=data_dir), secrets_for({}))
        children = [Child(program, data_dir / f"{program.name}.log") for program in chosen.programs]
        try:
            eventually("the servers are ready", lambda: all(child.program.is_ready() for child in children), within=30)
            psycopg.connect(chosen.environment["HEADRACE_DATABASE_URL"]).close()
            assert {psutil.Process(child.identity.pid).uids().effective for child in children} == {nobody.pw_uid}
        finally:
            end(child.stoppable for child in children)

    # A copy of this process, for the interpreter itself may lie where only root may look.
    other = multiprocessing.get_context("fork").Process(target=as_nobody)
    other.start()
    other.join(60)
    assert other.exitcode == 0
