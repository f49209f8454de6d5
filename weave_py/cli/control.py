"""`connect`, `forget`, `stop`: tell the running router what to do."""

from __future__ import annotations

import click

from weave_py.cli.client import RouterClient, client
from weave_py.cli.exits import CommandError, RouterNotRunning
from weave_py.cli.options import http_addr_option

STOP_SECONDS = 10.0


@click.command("connect", short_help="Add peers to connect to.")
@click.option("--replace", is_flag=True, help="Make these the only targets; with none: no targets.")
@click.argument("peers", nargs=-1, metavar="[PEER]...")
@http_addr_option
def connect_command(replace: bool, peers: tuple[str, ...], http_addr: str | None) -> None:
    """Connect to more peers, or at once to known ones that are waited for."""
    if not peers and not replace:
        raise click.UsageError("no peer given: use HOST or HOST:PORT")
    fields = [("peer", peer) for peer in peers]
    client(http_addr).post("/connect", [*fields, ("replace", "true")] if replace else fields)


@click.command("forget", short_help="Remove peers from the targets.")
@click.argument("peers", nargs=-1, required=True, metavar="PEER...")
@http_addr_option
def forget_command(peers: tuple[str, ...], http_addr: str | None) -> None:
    """Stop trying to connect to PEERs, written as they were given; connections stay."""
    client(http_addr).post("/forget", [("peer", peer) for peer in peers])


@click.command("stop", short_help="Stop the router of this host.")
@http_addr_option
def stop_command(http_addr: str | None) -> None:
    """Stop the router; the bridge, the attachments and the state stay."""
    try:
        stop(client(http_addr))
    except RouterNotRunning:
        click.echo("weave-py is not running.", err=True)


def stop(router: RouterClient) -> None:
    """End the router and wait until it has; RouterNotRunning if there is none."""
    router.post("/stop")
    if not router.wait_until_gone(STOP_SECONDS):
        raise CommandError(
            f"the router was asked to stop but still runs after {STOP_SECONDS:.0f} s: see its log"
        )
