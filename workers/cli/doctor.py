"""`headrace doctor`: asks every dependency of a running fleet, says what is wrong and what to do."""

import click

from shared.settings import settings
from workers.cli.output import json_option, print_json
from workers.doctor.finding import Diagnosis


@click.command()
@json_option
def doctor(as_json: bool) -> None:
    """Ask every dependency of a running fleet; say what is wrong and what to do. Exits 1 when something is wrong.

    A note is what somebody should know and may be meant so: a paused queue, dead letters. Notes alone exit 0.
    """
    from workers.cli.check import ask_redis  # noqa: PLC0415 - `--help` loads no driver
    from workers.doctor.examination import Examination  # noqa: PLC0415

    diagnosis = Examination(settings(), ask_redis).run()
    if as_json:
        findings = [finding._asdict() for finding in diagnosis.findings]
        print_json({"ok": diagnosis.ok, "asked": diagnosis.asked, "findings": findings})
    else:
        _print(diagnosis)
    raise click.exceptions.Exit(0 if diagnosis.ok else 1)


def _print(diagnosis: Diagnosis) -> None:
    width = max(map(len, diagnosis.asked))
    for target, said in diagnosis.asked.items():
        click.echo(f"{target:{width}}  {said or 'no answer'}")
    for finding in diagnosis.findings:
        click.echo(f"\n{finding.level}: {finding.target}: {finding.problem}\n  mend: {finding.fix}")
    if not diagnosis.findings:
        click.echo("\nnothing is wrong")
