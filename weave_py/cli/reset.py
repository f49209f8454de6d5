"""`reset`: leave nothing of weave-py on this host.

What is deleted is what we were told, by flags and environment, never what somebody answers: a
router that uses something else ends the attempt. All that could be in the way is found out first:
whoever may not delete things stops no router, and what another router works with is not touched.
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from contextlib import AbstractContextManager, ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import click

from weave_py.api.client import RouterClient
from weave_py.cli.client import RouterPlace
from weave_py.cli.control import STOP_SECONDS, stop
from weave_py.cli.exits import CommandError
from weave_py.cli.options import takes
from weave_py.config.options import BRIDGE, HTTP_ADDR, STATE_DIR
from weave_py.config.resolve import Settings
from weave_py.host.locks import claim_bridge, is_claimed
from weave_py.host.run_directory import api_socket
from weave_py.host.state.names import holds_state
from weave_py.model.errors import HostError, NotPermitted, RouterNotRunning, StateError

if TYPE_CHECKING:
    from weave_py.host.state.directory import StateDirectory


@click.command("reset", short_help="Stop the router and delete all it made.")
@click.option("--force", is_flag=True, help="Also if the router is not running.")
@takes(BRIDGE, f"The bridge to delete [default: {BRIDGE.default_text}].")
@takes(STATE_DIR, f"The state to delete [default: {STATE_DIR.default_text}].")
@takes(HTTP_ADDR, f"Where else to ask the router [env: {HTTP_ADDR.variable}].")
def reset_command(
    force: bool, bridge: str | None, state_dir: str | None, http_addr: str | None
) -> None:
    """Stop the router, detach all containers, delete the bridge and the state directory.

    The identity goes too: the next launch is a new peer, with a new name. Touches nothing while
    another router, one that does not answer here, uses the bridge or the state. What others made
    stays: their bridge, and their ports of it.
    """
    settings = Settings({BRIDGE.name: bridge, STATE_DIR.name: state_dir}, os.environ)
    bridge_name, directory = settings.value(BRIDGE), settings.value(STATE_DIR)
    router = _running(RouterPlace(http_addr, bridge), bridge_name, directory)
    if router is None:
        _refuse_if_claimed(bridge_name)
    if router is None and not force:
        raise RouterNotRunning(
            "the router is not running; unable to remove it from the network: launch it "
            "first, or clean up this host alone with 'weave-py reset --force'"
        )
    _check_rights(directory)
    state = _state(directory)
    if state is not None and router is None:
        with state.lock():  # or another router has it
            pass
    deleted = _what_is_ours(bridge_name)
    if state is not None:
        deleted.append(f"the state in {directory}, identity included")
    if router is not None:
        stop(router)
    _delete(bridge_name, state, 0.0 if router is None else STOP_SECONDS)
    click.echo("deleted " + " and ".join(deleted) if deleted else "there was nothing to delete")


def _running(place: RouterPlace, bridge: str, directory: Path) -> RouterClient | None:
    """The router that answers; CommandError if it works with anything but these two."""
    router = place.client()
    try:
        used = router.report()["Router"]
    except RouterNotRunning:
        return None
    found = used.get("Bridge"), used.get("StateDir")
    if found != (bridge, str(directory)):
        raise CommandError(
            f"the router that runs uses bridge {found[0]!r} and the state in {found[1]!r}, not "
            f"{bridge} and {directory}: say with --bridge and --state-dir what to delete"
        )
    return router


def _refuse_if_claimed(bridge: str) -> None:
    if is_claimed(bridge):
        raise CommandError(
            f"a weave-py router runs on bridge {bridge} and does not answer: try again without "
            "--http-addr, or end the process first"
        )


def _check_rights(directory: Path) -> None:
    """NotPermitted if the bridge or the state could not be deleted."""
    from weave_py.host.privileges import may_administer

    if not may_administer():
        raise NotPermitted("deleting the bridge needs CAP_NET_ADMIN: run as root (sudo)")
    try:
        directory.stat()
        may_write = os.access(directory, os.R_OK | os.W_OK | os.X_OK, effective_ids=True)
    except PermissionError:
        may_write = False
    except OSError:
        return  # there is nothing to delete
    if not may_write and os.geteuid() != 0:
        raise NotPermitted(f"no permission to delete the state in {directory}: run as root (sudo)")
    if not may_write:
        raise CommandError(f"cannot delete the state in {directory}: make it writable first")


def _state(directory: Path) -> StateDirectory | None:
    """What there is to wipe."""
    if not holds_state(directory):
        return None
    from weave_py.host.state.directory import StateDirectory

    state = StateDirectory(directory)
    return state if state.holds_state else None


def _what_is_ours(bridge: str) -> list[str]:
    """In words: the bridge, or what we plugged into one that somebody else made."""
    from weave_py.host.netlink import Netlink

    with Netlink() as netlink:
        if netlink.is_our_bridge(bridge):
            return [f"bridge {bridge}"]
        attached = len(netlink.our_ports(bridge)) if netlink.link_exists(bridge) else 0
        return [f"{attached} attachment{'s' * (attached > 1)} to bridge {bridge}"] * (attached > 0)


def _delete(bridge: str, state: StateDirectory | None, patience: float) -> None:
    """Delete both, while no router can begin to use them."""
    from weave_py.host.firewall import guards, keeper

    deadline = time.monotonic() + patience
    with ExitStack() as held:
        _hold(held, lambda: claim_bridge(bridge), deadline)
        if state is not None:
            _hold(held, state.lock, deadline)
        _delete_bridge(bridge)
        if state is not None:
            state.wipe()
        keeper.remove(bridge)
        guards.remove(bridge)
        with suppress(FileNotFoundError):  # a killed router's
            os.unlink(api_socket(bridge))


def _hold(
    held: ExitStack, claim: Callable[[], AbstractContextManager[None]], deadline: float
) -> None:
    """A router that was stopped answers no more a moment before it lets go of things."""
    while True:
        try:
            held.enter_context(claim())
            return
        except (HostError, StateError):
            if time.monotonic() >= deadline:
                raise
            time.sleep(0.05)


def _delete_bridge(bridge: str) -> None:
    from fastdp.cleanup import remove
    from weave_py.host.netlink import Netlink

    remove(bridge)
    with Netlink() as netlink:
        if not netlink.link_exists(bridge):
            return
        # The original Weave's are called like ours. (A router's TAPs went with it.)
        for port in netlink.our_ports(bridge):
            netlink.delete_link(port.ifname)
        if netlink.is_our_bridge(bridge):  # else somebody else made it
            netlink.delete_bridge(bridge)
