"""What changes an account or a channel takes effect in every running ingress, not when a copy's time is over."""

import re
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import urlsplit

import psycopg
import pytest
import redis
from celery import Celery

from shared.cache.tiers import close_tiers, tiers
from shared.db.session import transact
from shared.schedule import SCHEDULE
from shared.settings import settings
from shared.store import accounts, lookups
from shared.store.channels import NewChannel
from tests.command_line import CommandLine
from tests.conftest import RunningStack
from tests.factory import count
from tests.foreground import foreground
from tests.nodes import worker_node
from tests.running_ingress import Ingress, running
from tests.tcp_proxy import TcpProxy
from tests.waiting import eventually
from workers.beat import Beat
from workers.local.ports import choose

FOR_EVER = {"HEADRACE_LOOKUP_SECONDS": "300"}
"""As good as: no test waits for it."""


class Two(NamedTuple):
    """Two ingresses that know the same account and channel."""

    first: Ingress
    second: Ingress

    def statuses(self) -> set[tuple[int, int]]:
        """What each answers to a webhook and to a message."""
        return {(it.webhook("m").status, it.message("m").status) for it in self}

    def know(self, *, api_key: str = "", channel: NewChannel | None = None) -> "Two":
        """The same with another key or channel."""
        first = self.first._replace(api_key=api_key or self.first.api_key, channel=channel or self.first.channel)
        return Two(first, self.second._replace(api_key=first.api_key, channel=first.channel))


@pytest.fixture
def headrace(clean: RunningStack, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    return CommandLine(monkeypatch, capsys)


@pytest.fixture
def two(clean: RunningStack) -> Iterator[Two]:
    """Both have copies of the account and the channel."""
    with two_on(clean) as it:
        yield it


@contextmanager
def two_on(clean: RunningStack, **changes: str) -> Iterator[Two]:
    """Two ingresses for the length of a ``with``."""
    environment, port = {**clean.environment, **FOR_EVER, **changes}, choose(0)
    with running(environment) as first, foreground("ingress", {**environment, "HEADRACE_INGRESS_PORT": str(port)}) as process:
        eventually("it answers", lambda: process.answers(f"http://127.0.0.1:{port}/livez"), within=30)
        it = Two(first, first._replace(process=process, port=port))
        eventually("both listen", lambda: all("told of changes" in each.process.log for each in it))
        assert it.statuses() == {(202, 202)}
        yield it


def test_disabling_enabling_and_rotating_take_effect_in_every_ingress(two: Two, headrace: CommandLine) -> None:
    assert headrace("account", "disable", "tenant").code == 0
    eventually("both refuse", lambda: two.statuses() == {(404, 401)})
    assert headrace("account", "enable", "tenant").code == 0
    eventually("both accept", lambda: two.statuses() == {(202, 202)})
    new = headrace("account", "rotate-key", "tenant", "--json").json["api_key"]
    eventually("the old key is refused", lambda: two.statuses() == {(202, 401)})
    assert two.know(api_key=new).statuses() == {(202, 202)}


def test_rotating_and_removing_a_channel_take_effect_in_every_ingress(two: Two, headrace: CommandLine) -> None:
    channel_id = two.first.channel.id
    secret = headrace("channel", "rotate", channel_id, "--json").json["secret"]
    renewed = two.know(channel=NewChannel(channel_id, secret))
    eventually("the new secret is accepted", lambda: renewed.statuses() == {(202, 202)})
    assert two.statuses() == {(202, 202)}, "the old one still is"
    assert headrace("channel", "remove", channel_id).code == 0
    eventually("both refuse", lambda: two.statuses() == {(404, 202)})


def test_hits_are_in_the_metrics_within_a_second_or_two(two: Two) -> None:
    def hits() -> int:
        text = two.first.request("GET", "/metrics").body.decode()
        found = re.search(r'headrace_cache_requests_total\{cache="channels",result="hit",tier="l1"\} (\d+)', text)
        return int(found[1]) if found else 0

    for _ in range(5):
        two.first.webhook("m")
    eventually("they are counted", lambda: hits() >= 5)


def test_stats_add_up_what_the_fleet_of_a_directory_counts(
    clean: RunningStack, headrace: CommandLine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with two_on(clean, HEADRACE_METRICS_DIR=str(tmp_path)) as two:
        two.statuses()
        monkeypatch.setenv("HEADRACE_METRICS_DIR", str(tmp_path))
        settings.cache_clear()

        def channels() -> dict[str, Any]:
            found: dict[str, Any] = headrace("cache", "stats", "--json").json["kinds"][0]
            return found

        counted = eventually("they are counted", lambda: found if (found := channels())["l1_hits"] >= 2 else None)
        assert (counted["cache"], counted["loaded"], counted["l2_hits"], counted["hit_ratio"]) == ("channels", 1, 1, 0.75)
    monkeypatch.undo()
    settings.cache_clear()


def test_a_change_that_is_rolled_back_is_told_to_nobody(clean: RunningStack) -> None:
    account = transact(lambda session: accounts.create(session, "tenant"))
    cache, key = lookups.accounts_by_key(), lookups.key_of(account.api_key)
    eventually("this process listens", lambda: tiers().listening)
    assert cache.get_or_load(key, lambda: lookups.load_accounts([key]).get(key)) == account.id

    def work(session: accounts.WriteSession) -> None:
        accounts.disable(session, account.id)
        raise KeyError

    with pytest.raises(KeyError):
        transact(work)
    assert cache.has_copy(key)
    transact(lambda session: accounts.disable(session, account.id))
    assert not cache.has_copy(key)
    assert cache.get_or_load(key, lambda: lookups.load_accounts([key]).get(key)) is None


def test_without_the_cache_requests_are_answered_and_changes_still_take_effect(
    clean: RunningStack, headrace: CommandLine
) -> None:
    """The copies of a process end by their time, 5 s, and then the database is asked."""
    parts = urlsplit(clean.cache_url)
    with TcpProxy.running((parts.hostname or "", parts.port or 0)) as proxy:
        url = f"redis://:{parts.password}@127.0.0.1:{proxy.port}/0"
        with two_on(clean, HEADRACE_CACHE_URL=url) as two:
            proxy.cut()
            assert two.statuses() == {(202, 202)}
            assert headrace("account", "disable", "tenant").code == 0
            eventually("both refuse", lambda: two.statuses() == {(404, 401)}, within=20)


def test_what_was_used_is_warmed_into_an_empty_cache_in_a_few_queries(
    two: Two, headrace: CommandLine, clean: RunningStack
) -> None:
    with redis.Redis.from_url(clean.cache_url) as cache:
        eventually("the uses are counted", lambda: len(list(cache.scan_iter("headrace:cache:usage:*"))) == 2)
        usage = {name: cache.zrange(name, 0, -1, withscores=True) for name in cache.scan_iter("headrace:cache:usage:*")}
        cache.flushall()
        for name, members in usage.items():
            cache.zadd(name, dict(members))
        warmed = {each["cache"]: each for each in headrace("cache", "warm", "--json").json}
        assert {name: (it["keys"], it["loaded"], it["queries"]) for name, it in warmed.items()} == {
            "channels": (1, 1, 1),
            "api_keys": (1, 1, 1),
        }
        assert all(it["complete"] for it in warmed.values())
        stats = headrace("cache", "stats", "--json").json
        assert stats["policy"] == "allkeys-lfu"
        assert [(it["cache"], it["values"], it["used_keys"]) for it in stats["kinds"]] == [("channels", 1, 1), ("api_keys", 1, 1)]


def test_a_change_that_nobody_can_be_told_of_is_done_all_the_same(
    headrace: CommandLine, clean: RunningStack, use_cache: Callable[[str], None], caplog: pytest.LogCaptureFixture
) -> None:
    transact(lambda session: accounts.create(session, "tenant"))
    for number, url in enumerate(("redis://127.0.0.1:1/0", "http://no.redis")):
        use_cache(url)
        assert headrace("account", ("disable", "enable")[number], "tenant").code == 0
        assert caplog.text.count("the cache was not told of a change") >= number + 1
    assert count("SELECT count(*) FROM accounts WHERE disabled_at IS NULL") == 1


def test_rows_changed_by_hand_are_seen_once_the_cache_is_told(two: Two, headrace: CommandLine, clean: RunningStack) -> None:
    with psycopg.connect(clean.database_url, autocommit=True) as database:
        database.execute("UPDATE accounts SET disabled_at = now()")
    assert two.statuses() == {(202, 202)}
    assert headrace("cache", "invalidate", "--account", "tenant").code == 0
    eventually("both refuse", lambda: two.statuses() == {(404, 401)})
    with psycopg.connect(clean.database_url, autocommit=True) as database:
        database.execute("UPDATE accounts SET disabled_at = NULL")
    assert headrace("cache", "invalidate", "--all").code == 0
    eventually("both accept", lambda: two.statuses() == {(202, 202)})


@pytest.mark.parametrize(
    "words", [[], ["--key", "x"], ["--all", "--account", "a"], ["--kind", "channels"], ["--kind", "channels", "--account", "a"]]
)
def test_an_invalidation_that_says_too_little_or_too_much_is_refused(headrace: CommandLine, words: list[str]) -> None:
    ended = headrace("cache", "invalidate", *words)
    assert ended.code == 2
    assert "give --kind and --key, or --account, or --all" in ended.err


def test_a_cache_that_does_not_answer_is_one_line(headrace: CommandLine, use_cache: Callable[[str], None]) -> None:
    use_cache("redis://127.0.0.1:1/0")
    for words in (["stats"], ["warm"], ["invalidate", "--all"]):
        ended = headrace("cache", *words)
        assert (ended.code, ended.out) == (1, "")
        assert ended.err == "headrace: the cache does not answer; see HEADRACE_CACHE_URL, and that its server runs\n"


@pytest.fixture
def use_cache(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[str], None]]:
    """Gives this process another cache."""

    def it(url: str) -> None:
        monkeypatch.setenv("HEADRACE_CACHE_URL", url)
        settings.cache_clear()
        close_tiers()

    yield it
    monkeypatch.undo()
    settings.cache_clear()
    close_tiers()


def test_beats_tick_is_run_by_a_worker_and_one_that_comes_again_is_skipped(clean: RunningStack) -> None:
    with (
        redis.Redis.from_url(clean.broker_url) as broker,
        Celery("test", broker=clean.broker_url, set_as_current=False) as client,
    ):
        Beat(broker, SCHEDULE).look()
        again = broker.lindex("maintenance", -1)
        worker = worker_node("w1", clean.environment, client)
        try:
            eventually("it has warmed", lambda: "cache warmed" in worker.container.logs())
            warmed = worker.container.logs().count("cache warmed")
            broker.lpush("maintenance", again or b"")
            eventually("it is skipped", lambda: "tick skipped" in worker.container.logs())
            assert worker.container.logs().count("cache warmed") == warmed
            eventually("nothing is left", lambda: not broker.llen("maintenance") and not broker.hlen("headrace:held"))
            assert count("SELECT count(*) FROM dead_letters") == 0
        finally:
            worker.teardown()
