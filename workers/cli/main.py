"""The `headrace` command: one file a family, imported only when it is used, because `--help` should not load Celery."""

import sys
from importlib import import_module
from typing import NoReturn

import click

from shared.errors import HeadraceError
from workers.cli.output import did_you_mean, first_line

# verb: (module below workers.cli, one line of help); in the order in which a newcomer meets them
VERBS = {
    "up": ("up", "Start the whole fleet here and show it live."),
    "down": ("up", "Drain and stop the fleet of a data directory."),
    "restart": ("restart", "New processes in the place of those that run, one by one."),
    "status": ("status", "What is running, where, and what waits."),
    "check": ("check", "Validate the configuration; name the fix."),
    "doctor": ("doctor", "Ask every dependency of a running fleet; say what is wrong."),
    "account": ("account", "Create, list, disable and delete accounts."),
    "channel": ("channel", "Connect an account to a webhook source."),
    "queue": ("queue", "List, pause and resume queues."),
    "broker": ("broker", "Of a stopped fleet: messages back into plain lists; more or fewer lanes."),
    "dlq": ("dlq", "List, show, replay and purge dead letters."),
    "cache": ("cache", "Show, fill and empty the cache."),
    "db": ("db", "Migrate the database; show plans, sizes and what is slow."),
    "load": ("load", "Load a running fleet and account for every message."),
    "worker-profile": ("worker_profile", "Which line and which type make a worker grow."),
    "worker": ("worker", "One worker in the foreground."),
    "ingress": ("ingress", "The HTTP edge in the foreground."),
    "beat": ("beat", "The scheduler in the foreground."),
    "flower": ("processes", "Flower's web UI in the foreground."),
    "autoscaler": ("autoscaler", "How many workers there should be; and a simulator."),
    "exporter": ("processes", "The Prometheus exporter in the foreground."),
}


class Verbs(click.Group):
    """Looks a verb up in VERBS; a family's module has one click command of the verb's name."""

    def list_commands(self, context: click.Context) -> list[str]:
        return list(VERBS)

    def get_command(self, context: click.Context, name: str) -> click.Command | None:
        if name not in VERBS:
            return None
        module = import_module(f"workers.cli.{VERBS[name][0]}")
        command: click.Command = getattr(module, name.replace("-", "_"))
        return command

    def resolve_command(self, context: click.Context, args: list[str]) -> tuple[str | None, click.Command | None, list[str]]:
        if args[0] not in VERBS and not args[0].startswith("-"):
            context.fail(f"there is no {args[0]!r}{did_you_mean(args[0], VERBS)}")
        return super().resolve_command(context, args)

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="headrace", prog_name="headrace")
def cli() -> None:
    """Headrace: a message-processing worker fleet on Celery.

    Settings come from HEADRACE_... in the environment and from the fleet running in .headrace/ here
    (HEADRACE_DATA_DIR: elsewhere).
    """


def main() -> None:
    """Run the command line. Exits 0 done, 1 failed, 2 wrong usage; a failure is one line on stderr."""
    try:
        code = cli(prog_name="headrace", standalone_mode=False)
    except click.exceptions.NoArgsIsHelpError as error:
        error.show()
        sys.exit(2)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.UsageError as error:
        path = error.ctx.command_path if error.ctx else "headrace"
        message = " ".join(error.format_message().split())  # click breaks some of them into lines
        if isinstance(error, click.NoSuchOption) and error.option_name == "--data-dir":
            message = "no --data-dir here: set HEADRACE_DATA_DIR, which every command heeds"
        _end(f"{message}{'' if message.endswith(('.', '?')) else '.'} See `{path} --help`", 2)
    except click.ClickException as error:
        _end(error.format_message(), 1)
    except HeadraceError as error:
        _end(str(error), 1)
    except Exception as error:
        if (line := _outage(error)) is None:
            raise
        _end(line, 1)
    sys.exit(code if isinstance(code, int) else 0)  # click returns the code of a command that exits


def _end(line: str, code: int) -> NoReturn:
    click.echo(f"headrace: {line}", err=True)
    sys.exit(code)


def _outage(error: Exception) -> str | None:
    """One line for a dependency that failed us, without SQL and its values; None for a bug, which keeps its traceback."""
    import redis  # noqa: PLC0415 - only a failure needs to tell them apart
    from psycopg.errors import UndefinedColumn, UndefinedTable  # noqa: PLC0415
    from sqlalchemy.exc import DBAPIError  # noqa: PLC0415
    from sqlalchemy.exc import TimeoutError as PoolTimeout  # noqa: PLC0415

    if isinstance(error, DBAPIError):
        if isinstance(error.orig, UndefinedTable | UndefinedColumn):
            return "the database lacks our tables or has old ones; run `headrace db upgrade`"
        return f"the database: {first_line(error.orig)}; see HEADRACE_DATABASE_URL"
    if isinstance(error, PoolTimeout):
        return "the database gives no connection in time; see HEADRACE_DATABASE_URL"
    if isinstance(error, redis.RedisError):
        return f"the broker: {first_line(error)}; see HEADRACE_BROKER_URL"
    return None


if __name__ == "__main__":
    main()
