"""The `headrace` command: one file a family, imported only when it is used, because `--help` should not load Celery."""

import sys
from importlib import import_module

import click

from shared.errors import HeadraceError

# verb: (module below workers.cli, one line of help); in the order in which a newcomer meets them
VERBS = {
    "up": ("up", "Start the whole fleet here and show it live."),
    "down": ("up", "Drain and stop the fleet of a data directory."),
    "status": ("status", "What is running, where, and what waits."),
    "check": ("check", "Validate the configuration; name the fix."),
    "account": ("account", "Create, list, disable and delete accounts."),
    "channel": ("channel", "Connect an account to a webhook source."),
    "queue": ("queue", "List, pause and resume queues."),
    "dlq": ("dlq", "List, show, replay and purge dead letters."),
    "db": ("db", "Migrate the database."),
    "load": ("load", "Load a running fleet and account for every message."),
    "worker": ("processes", "One worker in the foreground."),
    "ingress": ("processes", "The HTTP edge in the foreground."),
    "beat": ("processes", "The scheduler in the foreground."),
    "flower": ("processes", "Flower's web UI in the foreground."),
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
        command: click.Command = getattr(module, name)
        return command

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        with formatter.section("Commands"):
            formatter.write_dl([(verb, text) for verb, (_, text) in VERBS.items()])


@click.group(cls=Verbs, context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 100})
@click.version_option(package_name="headrace", prog_name="headrace")
def cli() -> None:
    """Headrace: a message-processing worker fleet on Celery.

    Settings come from HEADRACE_... in the environment and from the fleet running in .headrace/ here.
    """


def main() -> None:
    """Run the command line. Exits 0 done, 1 failed, 2 wrong usage; a failure is one line on stderr."""
    try:
        cli(standalone_mode=False)
    except click.exceptions.Abort:
        sys.exit(130)
    except click.exceptions.Exit as exit_:
        sys.exit(exit_.exit_code)
    except click.ClickException as error:
        error.show()
        sys.exit(error.exit_code)
    except HeadraceError as error:
        click.echo(f"headrace: {error}", err=True)
        sys.exit(1)
