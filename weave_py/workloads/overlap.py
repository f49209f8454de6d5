"""Would an address in the overlay hide something that is reached otherwise?

An interface with 10.2.1.1/24 takes all packets to 10.2.1.0/24. If the host, or the container,
reaches part of that elsewhere, it is cut off from there; if the whole is part of something larger,
too. That the default route leads there, too, is what it is for, unless somebody is known to be
there: a gateway, a name server, a peer.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from ipaddress import IPv4Address, IPv6Address

from weave_py.host.route_list import KernelRoute, Network

Points = Mapping[IPv4Address | IPv6Address, str]
"""Addresses that must stay reachable, and what each is: `the name server`."""

# Some VPNs put two halves in the place of the default route (0.0.0.0/1, 128.0.0.0/1), for IPv6
# all that is allotted (2000::/3): they say "everything else" just as well.
_DEFAULT_LENGTH = {4: 1, 6: 3}


def what_is_hidden(
    network: Network, ifname: str, routes: Collection[KernelRoute], points: Points
) -> str | None:
    """What an address of `network` on `ifname` would hide, in words; None if nothing.

    Routes by `ifname` alone are of the overlay itself, and what they lead to is in it already.
    """
    if network.is_link_local and network.version == 6:
        return None  # means something else on each interface
    others = [route for route in routes if route.ifnames != {ifname}]
    overlapping = [route for route in others if hides(network, route.destination)]
    if overlapping:
        widest = min(overlapping, key=lambda route: route.destination.prefixlen)
        way = "".join(f" ({ifname})" for ifname in sorted(widest.ifnames)[:1])
        return f"overlaps the route to {widest.destination}{way}"
    known = [route.destination for route in routes if route.ifnames == {ifname}]
    gateways = dict.fromkeys((each for route in others for each in route.gateways), "the gateway")
    for point, what in (*gateways.items(), *points.items()):
        if point in network and not any(point in destination for destination in known):
            return f"contains {what} {point}"
    return None


def hides(network: Network, destination: Network) -> bool:
    """Whether a route to `network` and one to `destination` get in each other's way."""
    if network.version != destination.version or not network.overlaps(destination):
        return False
    is_default = destination.prefixlen <= _DEFAULT_LENGTH[destination.version]
    return not is_default or network.prefixlen <= destination.prefixlen
