"""`reset`: leave nothing of weave-py on this host."""

from __future__ import annotations

import os
from pathlib import Path

import click

from weave_py.cli.client import client
from weave_py.cli.control import stop
from weave_py.cli.exits import CommandError, RouterNotRunning
from weave_py.cli.options import http_addr_option
from weave_py.config import Settings

PORT_PREFIXES = ("wvt", "vethwepl")
"""Of a router's TAPs, and of attached containers' veth pairs."""


@click.command("reset", short_help="Stop the router and delete all it made.")
@click.option("--force", is_flag=True, help="Also if the router is not running.")
@click.option(
    "--bridge", metavar="NAME", help="The bridge to delete [default: the running router's; weave]."
)
@click.option(
    "--state-dir",
    metavar="DIR",
    help="The state to delete [default: the running router's; /var/lib/weave-py].",
)
@http_addr_option
def reset_command(
    force: bool, bridge: str | None, state_dir: str | None, http_addr: str | None
) -> None:
    """Stop the router, detach all containers, delete the bridge and the state directory.

    The identity goes too: the next launch is a new peer, with a new name.
    """
    settings = Settings({"bridge": bridge, "state-dir": state_dir}, os.environ)
    bridge_name, directory = settings.bridge(), settings.state_dir()
    try:
        router = client(http_addr)
        running = router.report()["Router"]
        bridge_name = bridge_name if bridge else str(running.get("Bridge") or bridge_name)
        directory = directory if state_dir else Path(running.get("StateDir") or directory)
        stop(router)
    except RouterNotRunning:
        if not force:
            raise CommandError(
                "the router is not running; unable to remove it from the network: launch it "
                "first, or clean up this host alone with 'weave-py reset --force'"
            ) from None
    _delete_bridge(bridge_name)
    _wipe(directory)
    click.echo(f"deleted bridge {bridge_name} and the state in {directory}, identity included")


def _delete_bridge(bridge: str) -> None:
    from fastdp.traces import remove
    from weave_py.host.netlink import Netlink

    remove(bridge)
    with Netlink() as netlink:
        if not netlink.link_exists(bridge):
            return
        for port in netlink.ports(bridge):
            if port.ifname.startswith(PORT_PREFIXES):
                netlink.delete_link(port.ifname)
        netlink.delete_bridge(bridge)


def _wipe(directory: Path) -> None:
    from weave_py.host.state import StateDirectory

    if directory.exists():
        StateDirectory(directory).wipe()
