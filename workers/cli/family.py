"""A family of commands, such as `headrace queue`: its help shows each one's first sentence whole."""

import click

FIRST_SENTENCE_MAX = 1_000
"""Characters; click by itself cuts it off at the end of the line."""


class Family(click.Group):
    """For ``click.group(cls=...)``."""

    def format_commands(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """The commands, sorted by name."""
        with formatter.section("Commands"):
            commands = [(name, self.commands[name]) for name in self.list_commands(context)]
            formatter.write_dl([(name, command.get_short_help_str(FIRST_SENTENCE_MAX)) for name, command in commands])
