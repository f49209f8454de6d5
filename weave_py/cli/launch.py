"""`launch`: run a router on this host."""

from __future__ import annotations

import gc
import os

import click

from weave_py.cli.control import refuse_senseless
from weave_py.cli.notes import warning
from weave_py.cli.options import parameter
from weave_py.config.options import OPTIONS, PASSWORD
from weave_py.config.password import password_file_warning
from weave_py.config.resolve import resolve

ARGV_WARNING = (
    "every user of this host can read --password in the process list: "
    "use --password-file or WEAVE_PASSWORD"
)


def _parameters() -> list[click.Parameter]:
    flags = [parameter(option) for option in OPTIONS if not option.hidden]
    return [click.Argument(["peers"], nargs=-1, metavar="[PEER]..."), *flags]


def launch(peers: tuple[str, ...], **given: str | bool | None) -> int:
    """Run a router on this host, in the foreground, until it is stopped.

    PEER is HOST, HOST:PORT or [IPV6]:PORT of a router that runs elsewhere, or will; one is
    enough, the others are found.

    Every option can be set in the environment too: --conn-limit is WEAVE_CONN_LIMIT, a switch
    is set with 1. The command line wins.
    """
    flags = {name.replace("_", "-"): value for name, value in given.items()}
    if flags.get(PASSWORD.name) is not None:
        warning(ARGV_WARNING)
    refuse_senseless(peers)
    config = resolve(flags, peers, os.environ)
    if exposed := password_file_warning(flags, os.environ):
        warning(exposed)

    # What is imported stays: to look for garbage in it takes a tenth of the time to start, and
    # again and again later.
    gc.disable()
    from weave_py.runtime.daemon import run

    gc.freeze()
    gc.enable()
    return run(config)


launch_command = click.Command(
    "launch",
    callback=launch,
    params=_parameters(),
    help=launch.__doc__,
    short_help="Run a router on this host.",
)
