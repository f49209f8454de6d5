"""`demo`: a network of routers on this one host, to look at and to break."""

from __future__ import annotations

import os

import click

from weave_py.cli.launch import ARGV_WARNING
from weave_py.cli.notes import warning
from weave_py.cli.options import takes
from weave_py.config.options import PASSWORD, PASSWORD_FILE
from weave_py.config.password import password_file_warning, resolve_password


@click.command("demo", short_help="Try it all on this host alone.")
@click.option(
    "--hosts", type=click.IntRange(2, 64), default=3, show_default=True, help="How many hosts."
)
@click.option(
    "--topology",
    type=click.Choice(["chain", "ring", "star", "full"]),
    default="chain",
    show_default=True,
    help="Which hosts reach each other.",
)
@click.option(
    "--profile",
    type=click.Choice(["plain", "docker", "firewalled", "two-uplinks", "cloud-nat", "busy"]),
    default="plain",
    show_default=True,
    help="What else there is on the hosts.",
)
@click.option("--once", is_flag=True, help="Show that it works, then clean up and exit.")
@click.option("--keep-logs", is_flag=True, help="Leave the routers' logs when done.")
@takes(PASSWORD, "The network's secret [default: made up].")
@takes(PASSWORD_FILE, "A file whose first line is the secret.")
def demo_command(
    hosts: int,
    topology: str,
    profile: str,
    once: bool,
    keep_logs: bool,
    password: str | None,
    password_file: str | None,
) -> int:
    """Build hosts out of network namespaces, run a router in each, and connect them.

    Touches nothing of this host's own network, and removes all it made.
    """
    if password is not None:
        warning(ARGV_WARNING)
    flags: dict[str, str | bool | None] = {
        PASSWORD.name: password,
        PASSWORD_FILE.name: password_file,
    }
    secret = resolve_password(flags, os.environ)
    if exposed := password_file_warning(flags, os.environ):
        warning(exposed)

    from weave_py.lab.demo import run_demo

    return run_demo(
        hosts=hosts,
        topology=topology,
        once=once,
        password=secret,
        keep_logs=keep_logs,
        profile=profile,
    )
