"""`attach`, `detach`, `expose`, `hide`: who has which address in the overlay?"""

from __future__ import annotations

import ipaddress
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import Any

import click

from weave_py.cli.client import RouterPlace
from weave_py.cli.exits import CommandError
from weave_py.cli.notes import note
from weave_py.cli.options import asks_router
from weave_py.config.options import MAX_MTU, MIN_MTU
from weave_py.model.addresses import usable_addresses, written_addresses


@click.command("attach", short_help="Plug a container into the overlay.")
@click.option("--no-multicast-route", is_flag=True, help="Leave multicast to other interfaces.")
@click.option("--force", is_flag=True, help="Also if that hides what TARGET reaches elsewhere.")
@click.argument("words", nargs=-1, required=True, metavar="CIDR... TARGET")
@asks_router
def attach_command(
    no_multicast_route: bool, force: bool, words: tuple[str, ...], place: RouterPlace
) -> None:
    """Give TARGET an interface (ethwe) in the overlay, with the addresses CIDR (10.2.1.1/24).

    TARGET is a network namespace: a path, a PID, a name from `ip netns`, or the name or id of a
    running container.
    """
    *given, target = words
    addresses = _addresses(given, usable_addresses)
    if not addresses:
        raise click.UsageError(
            f"no address given for '{target}', and none are handed out yet: give one, "
            "like 10.2.1.1/24"
        )
    bridge, mtu = _bridge(place, _router(place))

    from weave_py.workloads import attach, netns

    namespace = netns.resolve_namespace(target)
    attach.attach(
        bridge, mtu, namespace, addresses, multicast_route=not no_multicast_route, force=force
    )
    _print(addresses)


@click.command("detach", short_help="Unplug a container from the overlay.")
@click.argument("words", nargs=-1, required=True, metavar="[CIDR]... TARGET")
@asks_router
def detach_command(words: tuple[str, ...], place: RouterPlace) -> None:
    """Take the addresses CIDR from TARGET, all if none are given; with the last goes ethwe."""
    *given, target = words
    addresses = _addresses(given)
    bridge, _ = _bridge(place, _router(place))

    from weave_py.workloads import attach, netns

    _print_removed(attach.detach(bridge, netns.resolve_namespace(target), addresses), addresses)


@click.command("expose", short_help="Plug this host into the overlay.")
@click.option("--force", is_flag=True, help="Also if that hides what this host reaches elsewhere.")
@click.argument("words", nargs=-1, required=True, metavar="CIDR...")
@asks_router
def expose_command(force: bool, words: tuple[str, ...], place: RouterPlace) -> None:
    """Give this host the addresses CIDR (10.2.1.1/24) in the overlay.

    Refused if this host reaches part of their network otherwise: by a route, or a gateway, name
    server or peer in it.
    """
    addresses = _addresses(words, usable_addresses)
    router = _router(place)
    bridge, _ = _bridge(place, router)

    from weave_py.workloads import attach

    attach.expose(bridge, addresses, peers=_peers(router), force=force)
    _print(addresses)


@click.command("hide", short_help="Unplug this host from the overlay.")
@click.argument("words", nargs=-1, metavar="[CIDR]...")
@asks_router
def hide_command(words: tuple[str, ...], place: RouterPlace) -> None:
    """Take the addresses CIDR from this host, all its overlay addresses if none are given."""
    addresses = _addresses(words)
    bridge, _ = _bridge(place, _router(place))

    from weave_py.workloads import attach

    _print_removed(attach.hide(bridge, addresses), addresses)


def _addresses(
    words: Iterable[str], check: Callable[[Iterable[str]], list[str]] = written_addresses
) -> list[str]:
    """The addresses in canonical form, as `check` lets them pass."""
    words = list(words)
    for word in words:
        if word.startswith("net:"):
            raise click.UsageError(
                f"addresses are not handed out yet, so '{word}' cannot be used: give an address, "
                "like 10.2.1.1/24"
            )
    try:
        return check(words)
    except ValueError as error:
        raise click.UsageError(str(error)) from None


def _router(place: RouterPlace) -> dict[str, Any]:
    """What the running router says of itself."""
    router: dict[str, Any] = place.client().report()["Router"]
    return router


def _bridge(place: RouterPlace, router: dict[str, Any]) -> tuple[str, int]:
    """Name of the bridge, as we were told, and the running router's MTU on it."""
    bridge, mtu = router.get("Bridge"), router.get("MTU")
    if type(mtu) is not int or not MIN_MTU <= mtu <= MAX_MTU:
        raise CommandError("the router does not say which MTU it uses: is it another version?")
    if bridge != place.bridge:
        raise CommandError(
            f"that router works on bridge {bridge!r}, not {place.bridge}: name its --bridge"
        )
    return place.bridge, mtu


def _peers(router: dict[str, Any]) -> set[ipaddress.IPv4Address | ipaddress.IPv6Address]:
    """Where the router reaches others: by connections that stand, and by direct paths."""
    connections = [c for c in router.get("Connections", ()) if c["State"] == "established"]
    paths = [p for p in router.get("Paths", ()) if p["Kind"] in ("fastdp", "direct")]
    found = set()
    for each in (*connections, *paths):
        host = each["Address"].rpartition(":")[0].strip("[]").partition("%")[0]
        with suppress(ValueError):
            found.add(ipaddress.ip_address(host))
    return found


def _print(addresses: Iterable[str]) -> None:
    """As Weave does, for scripts: without prefix lengths, on one line."""
    line = " ".join(address.partition("/")[0] for address in addresses)
    if line:
        click.echo(line)


def _print_removed(removed: list[str], wanted: list[str]) -> None:
    """Those that are gone now; on standard error those that were not there."""
    _print(removed)
    if strange := [address for address in wanted if address not in removed]:
        note(f"not there: {', '.join(strange)}: see 'ip address'")
    elif not removed:
        note("there was no address to take away: see 'ip address'")
