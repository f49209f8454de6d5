"""`doctor`: is this host fit for a router?"""

from __future__ import annotations

import os

import click

from weave_py.cli.exits import Exit
from weave_py.cli.options import takes
from weave_py.config.options import NO_FASTDP


@click.command("doctor", short_help="Check what this host can do.")
@takes(NO_FASTDP, "Leave the fast datapath out.")
def doctor_command(no_fastdp: bool | None) -> int:
    """Try what a router needs, and what makes it fast. Nothing of it stays.

    Exits with 1 if a router could not run here.
    """
    from weave_py.config.resolve import resolve
    from weave_py.doctor.checks import Verdict, examine

    config = resolve({NO_FASTDP.name: no_fastdp or None}, [], os.environ)
    failed = False
    for finding in examine(config):
        click.echo(f"{finding.verdict:<7} {finding.what:<14} {finding.text}")
        failed |= finding.verdict is Verdict.FAILED
    return Exit.FAILED if failed else Exit.OK
