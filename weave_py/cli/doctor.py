"""`doctor`: is this host fit for a router?"""

from __future__ import annotations

import os
from itertools import chain
from typing import Any

import click

from weave_py.cli.client import RouterPlace
from weave_py.cli.exits import Exit
from weave_py.cli.options import takes
from weave_py.config.options import NO_FASTDP
from weave_py.model.errors import WeaveError


@click.command("doctor", short_help="Check what this host can do.")
@takes(NO_FASTDP, "Leave the fast datapath out.")
def doctor_command(no_fastdp: bool | None) -> int:
    """Try what a router needs, and what makes it fast. Nothing of it stays.

    Exits with 1 if a router could not run here, or loses frames. If one runs, it is asked, too.
    """
    from weave_py.config.resolve import resolve
    from weave_py.doctor.checks import Verdict, examine, inner_mtu

    config = resolve({NO_FASTDP.name: no_fastdp or None}, [], os.environ)
    failed = False
    for finding in chain(examine(config), inner_mtu(_running())):
        click.echo(f"{finding.verdict:<7} {finding.what:<14} {finding.text}")
        failed |= finding.verdict is Verdict.FAILED
    return Exit.FAILED if failed else Exit.OK


def _running() -> dict[str, Any]:
    """The report of the router that runs here; empty if none does, or will tell us."""
    try:
        router = RouterPlace(None, None).client().report()["Router"]
    except WeaveError:
        return {}
    assert isinstance(router, dict)
    return router
