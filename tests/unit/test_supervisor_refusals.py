"""What `headrace up` refuses, each in one line that names the cause and the mend."""

import os
import socket
import stat
from pathlib import Path

import pytest

from shared.errors import HeadraceError
from shared.settings import Settings
from tests.conftest import free_ports
from workers.local import binaries, data_dir, plan, postgres, redis, schema
from workers.local.owner import Unreachable, require_reachable, server_owner
from workers.local.ports import PortInUse
from workers.local.record import load
from workers.local.secret import Secret

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root runs Postgres as somebody else")


def refusal(error: pytest.ExceptionInfo[HeadraceError]) -> str:
    """The message, which is one line and says how to mend it."""
    text = str(error.value)
    assert "\n" not in text
    assert "mend:" in text
    return text


def test_a_second_fleet_in_one_directory_is_refused_with_the_pid_of_the_first(tmp_path: Path) -> None:
    with data_dir.claimed(tmp_path / "fleet"):
        with pytest.raises(data_dir.AlreadyRuns) as error, data_dir.claimed(tmp_path / "fleet"):
            pass
        assert f"pid {os.getpid()}" in refusal(error)
    with data_dir.claimed(tmp_path / "fleet"):
        pass  # free again


@pytest.mark.parametrize("version", ["0", "2", "twelve"])
def test_a_directory_of_another_version_is_refused_and_left_as_it_is(tmp_path: Path, version: str) -> None:
    (tmp_path / "version").write_text(version)
    with pytest.raises(HeadraceError) as error, data_dir.claimed(tmp_path):
        pass
    assert f"layout version {version}" in refusal(error)
    assert (tmp_path / "version").read_text() == version


def test_a_directory_that_cannot_be_made_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(HeadraceError) as error:
        data_dir.make(tmp_path / "file" / "fleet")
    assert str(tmp_path / "file" / "fleet") in refusal(error)


def test_a_damaged_record_is_refused_rather_than_overwritten(tmp_path: Path) -> None:
    (tmp_path / "fleet.json").write_text("{")
    with pytest.raises(HeadraceError) as error:
        load(tmp_path)
    assert "fleet.json" in refusal(error)


@pytest.mark.parametrize(("offset", "who"), [(0, "the ingress"), (1, "the exporter"), (2, "Flower")])
def test_a_port_in_use_is_refused_by_number_and_by_who_wanted_it(tmp_path: Path, offset: int, who: str) -> None:
    port = free_ports()
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", port + offset))
        taken.listen()
        with pytest.raises(PortInUse) as error:
            plan.fleet_environment(tmp_path, Settings(), port)
    assert f"port {port + offset}, for {who}," in refusal(error)
    assert "--port" in str(error.value)


def test_with_the_default_port_flower_has_its_usual_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan.ports, "is_free", lambda *_: True)
    assert plan.fleet_environment(tmp_path, Settings(), 8080)["HEADRACE_FLOWER_PORT"] == "5555"
    other = plan.fleet_environment(tmp_path, Settings(), 9000)
    assert [other[f"HEADRACE_{name}_PORT"] for name in ("INGRESS", "EXPORTER", "FLOWER")] == ["9000", "9001", "9002"]


def test_a_platform_without_servers_is_told_which_url_to_set(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    monkeypatch.setattr(binaries.shutil, "which", lambda _: None)
    with pytest.raises(binaries.MissingBinary) as error:
        binaries.postgres_programs()
    assert "HEADRACE_DATABASE_URL" in refusal(error)
    with pytest.raises(binaries.MissingBinary) as error:
        binaries.redis_program()
    assert "HEADRACE_BROKER_URL" in refusal(error)


def test_without_the_wheel_a_redis_or_valkey_on_the_path_serves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(binaries, "find_spec", lambda _: None)
    monkeypatch.setattr(binaries.shutil, "which", {"valkey-server": "/opt/valkey-server"}.get)
    assert binaries.redis_program() == Path("/opt/valkey-server")


@pytest.mark.parametrize(("shown", "good"), [("v=6.0.16", False), ("v=6.2.14", True), ("v=7.0.15", True), ("v=8.1.1", True)])
def test_a_redis_older_than_our_scripts_need_is_refused(tmp_path: Path, shown: str, good: bool) -> None:
    program = tmp_path / "redis-server"
    program.write_text(f"#!/bin/sh\necho 'Redis server {shown} sha=0'\n")
    program.chmod(0o755)
    if good:
        assert binaries.redis_version(program) >= (6, 2)
        return
    with pytest.raises(binaries.MissingBinary) as error:
        binaries.redis_version(program)
    assert "6.2" in refusal(error)


def test_a_broker_that_would_not_see_a_newer_ones_log_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(redis, "redis_version", lambda _: (6, 2))
    (tmp_path / "broker" / "appendonlydir").mkdir(parents=True)
    with pytest.raises(HeadraceError) as error:
        redis.broker(tmp_path, Secret("x", 1))
    assert "Redis 7 or newer" in refusal(error)


def test_a_cluster_of_another_postgres_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "server_owner", lambda: None)
    cluster = tmp_path / "postgres" / "data"
    cluster.mkdir(parents=True)
    (cluster / "PG_VERSION").write_text("17\n")
    with pytest.raises(HeadraceError) as error:
        postgres.server(tmp_path, Secret("x", 1))
    assert "PostgreSQL 17" in refusal(error)


def test_the_word_of_a_dead_postmaster_is_not_taken_for_the_new_ones(tmp_path: Path) -> None:
    file = tmp_path / "postmaster.pid"
    lines = "{pid}\n" + "\n" * 6 + "ready   \n"
    file.write_text(lines.format(pid=2**22 + 1))  # above any pid
    postmaster = postgres.PostmasterFile(tmp_path)
    postmaster.settle()
    assert file.exists()  # Postgres looks up in it whose memory may still be in use
    assert not postmaster.says_ready()
    file.write_text(lines.format(pid=1234))
    assert postmaster.says_ready()


def test_a_pid_file_that_names_some_other_process_is_out_of_the_way(tmp_path: Path) -> None:
    (tmp_path / "postmaster.pid").write_text(f"{os.getpid()}\n")
    postgres.PostmasterFile(tmp_path).settle()
    assert not (tmp_path / "postmaster.pid").exists()


@as_root
def test_a_directory_that_the_servers_user_cannot_reach_is_refused_by_name_and_stays_closed(tmp_path: Path) -> None:
    closed = tmp_path / "closed"
    (closed / "inner").mkdir(parents=True)
    closed.chmod(0o700)
    with pytest.raises(Unreachable) as error:
        require_reachable(server_owner(), closed / "inner", "its data")
    first_closed = next(each for each in reversed((closed / "inner").parents) if not each.stat().st_mode & stat.S_IXOTH)
    assert f"may not enter {first_closed} on" in refusal(error)
    assert stat.S_IMODE(closed.stat().st_mode) == 0o700


def test_a_socket_path_that_is_too_long_becomes_loopback(tmp_path: Path) -> None:
    secret = Secret("password", 20_099)
    assert "?host=%2Ftmp%2Fa%2Fpostgres" in postgres.url(Path("/tmp/a"), secret)
    assert postgres.url(Path("/tmp") / ("a" * 100), secret) == "postgresql://headrace:password@127.0.0.1:20099/headrace"


def test_the_newest_revision_is_read_off_the_file_names_as_alembic_knows_it() -> None:
    from alembic.script import ScriptDirectory

    from shared.db.migrate import config

    assert schema.newest_revision() == ScriptDirectory.from_config(config()).get_current_head()
