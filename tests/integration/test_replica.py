"""Reads from a real streaming replica: while it is close behind, and from the primary otherwise."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.engine import make_url

from shared.db.engine import close_engine, replica, use
from shared.db.role import TOOL, Role
from shared.db.session import ReadSession, fetch, read_session, transact
from shared.metrics import DB_READS
from shared.settings import settings
from shared.store import accounts
from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.postgres_server import STREAMS, PostgresServer, replica_of, serving
from tests.running_ingress import running
from tests.waiting import eventually


@pytest.fixture(scope="module")
def pair(stack: RunningStack, reachable_dir: Path) -> Iterator[tuple[PostgresServer, PostgresServer]]:
    """A primary and its replica, both running; the process's settings name both."""
    directory = Path(tempfile.mkdtemp(prefix="pair-", dir=reachable_dir))
    directory.chmod(0o711)
    primary = PostgresServer(directory / "primary", *STREAMS)
    with serving(primary):
        follower = replica_of(primary, directory / "replica")
        with pytest.MonkeyPatch.context() as patch:
            patch.setenv("HEADRACE_REPLICA_URL", follower.url)
            settings.cache_clear()
            yield primary, follower
            follower.stop()
        settings.cache_clear()


@pytest.fixture
def primary(pair: tuple[PostgresServer, PostgresServer]) -> Iterator[PostgresServer]:
    """Its tables are empty, and this process serves."""
    close_engine()
    use(Role("test", size=4, serves=True))
    pair[0].execute("TRUNCATE accounts CASCADE")
    yield pair[0]
    close_engine()
    use(TOOL)


@pytest.fixture
def follower(primary: PostgresServer, pair: tuple[PostgresServer, PostgresServer]) -> PostgresServer:
    """Running, and close behind."""
    if not pair[1].running:
        pair[1].start()
    pair[1].execute("SELECT pg_wal_replay_resume()")
    eventually("the replica serves", reads_from_replica, within=20)
    return pair[1]


def follows(session: ReadSession) -> bool:
    return bool(session.execute(text("SELECT pg_is_in_recovery()")).scalar_one())


def reads_from_replica() -> bool:
    return fetch(follows)


def names(session: ReadSession) -> list[str]:
    return list(session.execute(text("SELECT name FROM accounts")).scalars())


def test_reads_go_to_a_replica_that_is_close_behind_and_writes_and_fresh_reads_never_do(follower: PostgresServer) -> None:
    assert reads_from_replica()
    with read_session() as session:
        assert follows(session)
    assert not fetch(follows, fresh=True)
    with read_session(fresh=True) as session:
        assert not follows(session)
    assert transact(lambda session: session.execute(text("SELECT pg_is_in_recovery()")).scalar_one()) is False


def test_a_replica_that_lags_serves_no_reads_until_it_has_caught_up(primary: PostgresServer, follower: PostgresServer) -> None:
    follower.execute("SELECT pg_wal_replay_pause()")
    transact(lambda session: accounts.create(session, "acme"))
    eventually("reads go to the primary", lambda: not reads_from_replica())
    assert fetch(names) == ["acme"]
    it = replica()
    assert it is not None
    assert it.refusal() == "lag"
    follower.execute("SELECT pg_wal_replay_resume()")
    eventually("reads go to the replica again", reads_from_replica)
    assert fetch(names) == ["acme"]


def test_who_must_see_its_own_write_says_so_and_does(follower: PostgresServer) -> None:
    follower.execute("SELECT pg_wal_replay_pause()")
    transact(lambda session: accounts.create(session, "acme"))
    assert fetch(names, fresh=True) == ["acme"]
    with read_session(fresh=True) as session:
        assert names(session) == ["acme"]


def test_a_replica_that_is_killed_costs_no_read_and_is_used_again_once_it_is_back(
    primary: PostgresServer, follower: PostgresServer
) -> None:
    transact(lambda session: accounts.create(session, "acme"))
    eventually("the replica has it", lambda: reads_from_replica() and fetch(names) == ["acme"])
    asked = 0

    def kill_in_the_middle(session: ReadSession) -> list[str]:
        nonlocal asked
        asked += 1
        session.execute(text("SELECT 1"))
        if asked == 1:
            follower.crash()
        return names(session)

    before = reads_counted()
    assert fetch(kill_in_the_middle) == ["acme"]
    assert asked == 2
    assert reads_counted() == before + 1, "it was one read, by whoever answered it"
    for _ in range(50):
        assert fetch(names) == ["acme"]
        with read_session() as session:
            assert names(session) == ["acme"]
    assert not reads_from_replica()
    follower.start()
    eventually("the replica serves again", reads_from_replica, within=20)


def reads_counted() -> float:
    """By either server."""
    return sum(sample.value for metric in DB_READS.collect() for sample in metric.samples if sample.name.endswith("_total"))


def test_a_replica_that_freezes_costs_a_reader_no_longer_than_the_answer_may_take(
    follower: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("shared.db.health.IDLE_SECONDS_MAX", 0)
    monkeypatch.setattr("shared.db.health.ANSWER_SECONDS_MAX", 0.2)
    assert reads_from_replica()
    follower.freeze()
    try:
        assert not reads_from_replica()
    finally:
        follower.thaw()
    eventually("the replica serves again", reads_from_replica, within=20)


def test_an_ingress_answers_every_page_while_its_replica_is_killed(
    stack: RunningStack, primary: PostgresServer, follower: PostgresServer
) -> None:
    environment = {
        **stack.environment,
        "HEADRACE_DATABASE_URL": primary.url,
        "HEADRACE_REPLICA_URL": follower.url,
        "HEADRACE_LOOKUP_SECONDS": "0",
    }
    with running(environment) as ingress:
        bearer = {"Authorization": f"Bearer {ingress.api_key}"}

        def page() -> bool:
            answer = ingress.request("GET", "/v1/conversations", headers=bearer)
            assert answer.status == 200, answer
            counted = ingress.request("GET", "/metrics").body.decode()
            return 'headrace_db_reads_total{reason="close",server="replica"}' in counted

        eventually("a page comes from the replica", page)
        follower.crash()
        for _ in range(30):
            page()
        metrics = ingress.request("GET", "/metrics").body.decode()
        assert 'headrace_db_reads_total{reason="down",server="primary"}' in metrics
        assert "headrace_db_replica_lag_seconds" in metrics


def test_check_knows_a_replica_from_another_server(
    stack: RunningStack, follower: PostgresServer, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    headrace = CommandLine(monkeypatch, capsys)
    assert "REPLICA_URL" not in headrace("check").err
    monkeypatch.setenv("HEADRACE_REPLICA_URL", stack.database_url)
    settings.cache_clear()
    assert "HEADRACE_REPLICA_URL: it is of another cluster than the primary" in headrace("check").err
    monkeypatch.setenv("HEADRACE_REPLICA_URL", settings().database_url)
    settings.cache_clear()
    assert "HEADRACE_REPLICA_URL: the server follows no primary" in headrace("check").err
    monkeypatch.setenv("HEADRACE_REPLICA_URL", follower.url)
    settings.cache_clear()


def test_a_url_of_both_servers_finds_whichever_is_the_primary(
    primary: PostgresServer, follower: PostgresServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last test here: afterwards the replica is one no more."""
    both = make_url(primary.url).set(
        query={"host": (str(follower.home), str(primary.home)), "target_session_attrs": "read-write"}
    )
    monkeypatch.setenv("HEADRACE_DATABASE_URL", both.render_as_string(hide_password=False))
    monkeypatch.setenv("HEADRACE_REPLICA_URL", "")
    close_engine()
    settings.cache_clear()
    try:
        transact(lambda session: accounts.create(session, "before"))
        eventually("the replica has it", lambda: follower.execute("SELECT count(*) FROM accounts") == [(1,)])
        primary.crash()
        follower.execute("SELECT pg_promote()")
        transact(lambda session: accounts.create(session, "after"))
        assert sorted(fetch(names)) == ["after", "before"]
    finally:
        close_engine()
        monkeypatch.undo()
        settings.cache_clear()
