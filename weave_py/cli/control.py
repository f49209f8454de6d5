"""`connect`, `forget`, `stop`: tell the running router what to do."""

from __future__ import annotations

from collections.abc import Sequence

import click

from weave_py.api.client import RouterClient
from weave_py.cli.client import RouterPlace
from weave_py.cli.exits import CommandError
from weave_py.cli.notes import note, say
from weave_py.cli.options import asks_router
from weave_py.model.errors import RequestRefused, RouterElsewhere, RouterNotRunning
from weave_py.model.names import parse_target

STOP_SECONDS = 10.0


@click.command("connect", short_help="Add peers to connect to.")
@click.option("--replace", is_flag=True, help="Make these the only targets; with none: no targets.")
@click.argument("peers", nargs=-1, metavar="[PEER]...")
@asks_router
def connect_command(replace: bool, peers: tuple[str, ...], place: RouterPlace) -> None:
    """Connect to more peers, or at once to known ones that are waited for."""
    if not peers and not replace:
        raise click.UsageError("no peer given: use HOST or HOST:PORT")
    fields = _fields(peers)
    try:
        place.client().post("/connect", [*fields, ("replace", "true")] if replace else fields)
    except RequestRefused as error:
        # The router kept the good ones, and said which are not; here it is about the status.
        if all(map(_makes_sense, peers)):
            raise
        raise click.UsageError(str(error)) from None


@click.command("forget", short_help="Remove peers from the targets.")
@click.argument("peers", nargs=-1, required=True, metavar="PEER...")
@asks_router
def forget_command(peers: tuple[str, ...], place: RouterPlace) -> None:
    """Stop trying to connect to PEERs, written as they were given; connections stay."""
    fields = _fields(peers)
    router = place.client()
    known = router.get("/status/targets").splitlines()
    router.post("/forget", fields)
    if strange := [peer for peer in peers if peer.strip() not in known]:
        note(f"no such target: {', '.join(strange)}: see 'weave-py status targets'")


@click.command("stop", short_help="Stop the router of this host.")
@asks_router
def stop_command(place: RouterPlace) -> None:
    """Stop the router; the bridge, the attachments and the state stay."""
    try:
        stop(place.client())
    except RouterElsewhere:
        raise
    except RouterNotRunning:
        say("weave-py is not running.")


def stop(router: RouterClient) -> None:
    """End the router and wait until it has; RouterNotRunning if there is none."""
    router.post("/stop")
    if not router.wait_until_gone(STOP_SECONDS):
        raise CommandError(
            f"the router was asked to stop but still runs after {STOP_SECONDS:.0f} s: see its log"
        )


def refuse_senseless(peers: Sequence[str]) -> None:
    """click.UsageError for the first that cannot be a peer."""
    for peer in peers:
        try:
            parse_target(peer)
        except ValueError as error:
            raise click.UsageError(str(error)) from None


def _fields(peers: Sequence[str]) -> list[tuple[str, str]]:
    for peer in peers:
        try:
            peer.encode()
        except UnicodeEncodeError:  # so it cannot be sent either
            raise click.UsageError(f"{peer!r} is not a peer: use HOST or HOST:PORT") from None
    return [("peer", peer) for peer in peers]


def _makes_sense(peer: str) -> bool:
    try:
        parse_target(peer)
    except ValueError:
        return False
    return True
