"""`headrace dlq`: what was given up on; look, replay, purge. No verb shows a message's text but `show --body`."""

import re
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from datetime import timedelta
from typing import Any

import click

from shared.clock import utc_now
from shared.db.session import read_session, transact
from shared.errors import NotFound
from shared.producer import Producer
from shared.settings import settings
from shared.store import accounts, dead_letters
from shared.store.dead_letters import Filter
from workers.cli.family import Family
from workers.cli.output import cell, confirm, json_option, print_json, print_record, print_records

COLUMNS = ("id", "queue", "account_id", "message_id", "attempts", "age", "reason")
TEXTS = ("argsrepr", "kwargsrepr")
"""Headers in which stock clients repeat the message."""
PURGED_AT_ONCE = 1_000
UNITS = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Age(click.ParamType[timedelta]):
    """A number and a unit, such as ``90s``, ``30m``, ``2h`` or ``7d``, as a timedelta."""

    name = "age"

    def convert(self, value: Any, param: click.Parameter | None, context: click.Context | None) -> timedelta:
        found = re.fullmatch(r"(\d{1,6})([smhd])", str(value))
        if not found:
            self.fail(f"{value!r} is no age; write 90s, 30m, 2h or 7d", param, context)
        return timedelta(**{UNITS[found[2]]: int(found[1])})


def filtered(command: Callable[..., None]) -> Callable[..., None]:
    """The options that choose letters; `_filter` reads them."""
    for option in (
        click.option("--older-than", type=Age(), help="Given up on before that, such as 7d, 2h, 30m."),
        click.option("--account", help="Of this account, by name or id."),
        click.option("--reason", help="Whose reason contains this."),
        click.option("--queue", help="Consumed from this queue."),
    ):
        command = option(command)
    return command


@click.group(cls=Family)
def dlq() -> None:
    """List, show, replay and purge dead letters."""


@dlq.command("list")
@filtered
@click.option("--limit", type=click.IntRange(1, 100_000), default=50, show_default=True, help="At most so many.")
@json_option
def list_(limit: int, as_json: bool, **chosen: Any) -> None:
    """Dead letters, the newest first."""
    now = utc_now()
    with read_session() as session:
        wanted = _filter(chosen)
        letters = dead_letters.newest(session, wanted, limit=limit)
        total = sum(dead_letters.counts(session, wanted).values())
    records = [letter._asdict() | {"age": str(now - letter.created_at).partition(".")[0]} for letter in letters]
    print_records(records, COLUMNS, as_json=as_json)
    if total > len(letters):
        click.echo(f"{len(letters):,} of {total:,}; --limit shows more", err=True)


@dlq.command()
@click.argument("letter_id", metavar="ID", type=int)
@click.option("--body", is_flag=True, help="Show the message itself too.")
@json_option
def show(letter_id: int, body: bool, as_json: bool) -> None:
    """One dead letter: its headers and history, and with --body the message."""
    with read_session() as session:
        letter = dead_letters.find(session, letter_id)
    if letter is None:
        raise NotFound(f"no dead letter {letter_id}; `headrace dlq list` shows them")
    names = ("id", "queue", "task", "task_id", "account_id", "message_id", "reason", "created_at", "history")
    record = {name: getattr(letter, name) for name in names}
    record["headers"] = {name: value for name, value in letter.headers.items() if body or name not in TEXTS}
    if body:
        record["body"] = letter.body.decode("utf-8", "backslashreplace")
    print_record(record, as_json=as_json)


@dlq.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=int)
@filtered
@click.option("--limit", type=click.IntRange(1), default=1_000_000, show_default=True, help="At most so many.")
@click.option("--rate", type=click.FloatRange(0.1, 100_000), default=100, show_default=True, help="Messages a second.")
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@json_option
def replay(ids: tuple[int, ...], limit: int, rate: float, dry_run: bool, as_json: bool, **chosen: Any) -> None:
    """Put dead letters back into their queues, the oldest first; all of them without IDs or filters.

    Each goes to the end of its queue and is forgotten here once the broker has it. Repeating is harmless. What was never a
    Celery message is skipped: no worker could take it.
    """
    from workers.replay import Progress  # noqa: PLC0415 - as below
    from workers.replay import replay as replay_letters  # noqa: PLC0415

    wanted, counts = _snapshot(ids, chosen)
    total = min(limit, sum(counts.values()))
    if dry_run:
        _say({"would_replay": total, "queues": counts}, as_json=as_json)
        return
    config = settings()
    producer = Producer.of(config)
    progress = Progress(0, 0)
    with click.progressbar(length=total, label="replaying", file=sys.stderr) as bar:
        for now in replay_letters(producer, wanted, rate=rate, limit=limit, sleep=time.sleep):
            bar.update(sum(now) - sum(progress))
            progress = now
    producer.close()
    _say(progress._asdict(), as_json=as_json)


@dlq.command()
@click.argument("ids", metavar="[ID]...", nargs=-1, type=int)
@filtered
@click.option("--dry-run", is_flag=True, help="Only say how many.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@json_option
def purge(ids: tuple[int, ...], dry_run: bool, yes: bool, as_json: bool, **chosen: Any) -> None:
    """Delete dead letters for good; all of them without IDs or filters."""
    wanted, counts = _snapshot(ids, chosen)
    total = sum(counts.values())
    if dry_run:
        _say({"would_purge": total, "queues": counts}, as_json=as_json)
        return
    if total:
        confirm(f"Delete {total:,} dead letters for good?", yes=yes)
    purged = 0
    while gone := transact(lambda session: dead_letters.purge(session, wanted, limit=PURGED_AT_ONCE)):
        purged += gone
    _say({"purged": purged}, as_json=as_json)


def _snapshot(ids: tuple[int, ...], chosen: dict[str, Any]) -> tuple[Filter, dict[str, int]]:
    """The filter, bounded to the letters there are now, and how many fit, by queue. Raises NotFound for an unknown id."""
    with read_session() as session:
        wanted = _filter(chosen)._replace(ids=ids or None, up_to=dead_letters.newest_id(session))
        counts = dead_letters.counts(session, wanted)
        missing = [id_ for id_ in ids if dead_letters.find(session, id_) is None]
    if missing:
        raise NotFound(f"no dead letter {missing[0]}; `headrace dlq list` shows them")
    return wanted, counts


def _filter(chosen: dict[str, Any]) -> Filter:
    age, account = chosen["older_than"], chosen["account"]
    if account is not None:
        # A letter may name an account that does not exist: that is why it is dead.
        with suppress(NotFound), read_session() as session:
            account = accounts.named(session, account).id
    return Filter(queue=chosen["queue"], reason=chosen["reason"], account_id=account, before=utc_now() - age if age else None)


def _say(what: dict[str, Any], *, as_json: bool) -> None:
    if as_json:
        print_json(what)
        return
    queues = what.pop("queues", {})
    numbers = ", ".join(f"{name.replace('_', ' ')} {count:,}" for name, count in what.items())
    click.echo(numbers + "".join(f"\n  {cell(queue)}  {count:,}" for queue, count in queues.items()))
