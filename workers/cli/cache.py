"""`headrace cache`: what the cache holds and answers, filling it before traffic comes, and forgetting on purpose."""

from typing import Any

import click

from shared.cache import kind
from shared.cache.change import Change, account_tag
from shared.cache.status import Status, ask
from shared.cache.tiers import close_tiers, tiers
from shared.db.session import read_session
from shared.errors import HeadraceError
from shared.settings import settings
from shared.store import accounts
from workers.cli.family import Family
from workers.cli.output import json_option, print_record, print_records

KINDS = list(kind.KINDS)


@click.group(cls=Family)
def cache() -> None:
    """Show, fill and empty the cache."""


@cache.command()
@json_option
def stats(as_json: bool) -> None:
    """What the cache's Redis holds, and how often the fleet running here found what it asked for.

    l1 are the processes' own copies, l2 is Redis. Of a fleet that does not share HEADRACE_METRICS_DIR with this command only
    Redis is shown; its metrics have the rest: headrace_cache_requests_total.
    """
    status = _status()
    if as_json:
        print_record(status._asdict(), as_json=True)
        return
    print_record({name: value for name, value in status._asdict().items() if name != "kinds"}, as_json=False)
    click.echo()
    print_records(
        status.kinds, ("cache", "values", "used_keys", "l1_hits", "l2_hits", "loaded", "stale", "hit_ratio"), as_json=False
    )


@cache.command()
@click.option("--seconds", type=click.FloatRange(0.1, 600), default=30, show_default=True, help="Stop after so long.")
@click.option("--queries", type=click.IntRange(1, 10_000), default=200, show_default=True, help="Stop after so many queries.")
@json_option
def warm(seconds: float, queries: int, as_json: bool) -> None:
    """Load what the last hours used most, such as before a deploy's first traffic.

    Beat does it every minute; this is for now, and for code whose values have a new version. Running it twice does no harm.
    """
    from tasks.warm import warm as fill  # noqa: PLC0415 - brings Celery

    _status()
    records = [warmed._asdict() for warmed in fill(seconds=seconds, queries=queries)]
    for record in records:
        record["seconds"] = round(record["seconds"], 3)
    close_tiers()
    print_records(records, ("cache", "keys", "loaded", "queries", "seconds", "complete"), as_json=as_json)


@cache.command()
@click.option("--kind", "kind_name", type=click.Choice(KINDS), help="What kind of value.")
@click.option("--key", "keys", multiple=True, help="Of that kind: a channel's id, an API key's hash. May be repeated.")
@click.option("--account", help="All that belongs to this account, a name or an id.")
@click.option("--all", "everything", is_flag=True, help="Everything, of the kind or of all.")
def invalidate(kind_name: str | None, keys: tuple[str, ...], account: str | None, everything: bool) -> None:
    """Forget values, in Redis and in every process, within a tenth of a second.

    Never needed in the ordinary course: what changes accounts and channels does it. It is for rows that were changed by hand.
    """
    if bool(keys) + bool(account) + everything != 1 or (keys and not kind_name) or (account and kind_name):
        raise click.UsageError("give --kind and --key, or --account, or --all, perhaps of a --kind")
    _status()
    if account:
        with read_session() as session:
            account_id = accounts.named(session, account).id
        change = Change(tags=(account_tag(account_id),))
    else:
        change = Change(kind_name or "", keys=keys, everything=everything)
    if not tiers().tell([change]):
        raise HeadraceError(
            "the cache did not answer, so what it holds stays until its time is over; repeat it; `headrace doctor`"
        )
    click.echo("forgotten")


def _status() -> Status:
    """Of the cache. Raises HeadraceError when it is not there."""
    settings().required("cache_url")
    remote = tiers().remote
    found: Any = ask(remote) if remote else None
    if found is None:
        raise HeadraceError("the cache does not answer; see HEADRACE_CACHE_URL, and that its server runs")
    status: Status = found
    return status
