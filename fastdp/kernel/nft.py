"""Who may send plain VXLAN, to us and from this host? (nft(8))

A VXLAN device takes whatever has its VNI, wherever it comes from. In a network with a secret only
hosts in trusted subnets may send it to each other in clear; everybody else has ESP (`fastdp.esp`).
Both trust a *host*: the kernel seals, or the subnet vouches for, whatever leaves it. So what leaves
must be the VXLAN devices' own:

    in       only between trusted subnets, by an interface that leads back to the source; never out
             of the bridge; or decrypted
    out      a process other than the router sends nothing that would be sealed as ours, nor
             anything to a trusted subnet's VXLAN ports
    through  what this host forwards (a container, say, whose address it hides behind its own)
             neither, unless it comes from a trusted subnet itself

A packet of a VXLAN device carries the socket of who sent the frame inside, if that was a process of
this host (`weave-py expose`). Such frames pass here first, on their way into the device, and are
marked: by a priority that no process without privileges can give to its packets (socket(7)).

Besides, no VXLAN packet is worth an entry in the table of connections: every inner flow would make
one.
"""

from __future__ import annotations

import ipaddress
from collections.abc import Collection, Iterable
from ipaddress import IPv4Network, IPv6Network
from typing import Final

from fastdp.esp.values import request_id
from fastdp.kernel.selftest import PORTS
from weave_py.host.firewall.tables import (
    KeptTable,
    chain,
    named,
    remove_table,
    table,
    table_of,
)

Network = IPv4Network | IPv6Network

_FAMILY: Final = "inet"
_FRAME_INSIDE: Final = "7770:0"
"""The priority of frames on their way into a VXLAN device (a class of a queueing discipline that
nobody has; to all others it is no priority)."""


def ruleset(
    bridge: str,
    udp_port: int,
    allowed_networks: Iterable[Network] | None,
    *,
    owner: int = 0,
    peer_ports: Collection[int] = PORTS,
    decrypted: bool = False,
) -> str:
    """What `apply` loads; replaces what was there in one step.

    `udp_port`: where our VXLAN devices listen. `allowed_networks`: between which plain VXLAN may
    travel; None: anywhere (an open network). `owner`: the router's effective user id. `peer_ports`:
    where peers may listen. `decrypted`: the kernel has ESP: let pass what was decrypted, and let
    nobody have sealed what is not ours. HostError for a bridge that nft cannot name.
    """
    ours = _port(udp_port)
    rules = [
        *chain(
            "untracked-in", "prerouting", "raw", f"udp dport {ours} fib daddr type local notrack"
        ),
        *chain(
            "untracked-out", "output", "raw", f"udp dport {_ports(udp_port, peer_ports)} notrack"
        ),
    ]
    if allowed_networks is not None:
        trusted = _by_family(allowed_networks)
        rules += _incoming(ours, named(bridge), trusted, decrypted)
        ports = _ports(udp_port, peer_ports)
        as_ours = [f"udp dport {ports} {family} daddr {nets}" for family, nets in trusted]
        if decrypted:
            as_ours.append(f"ipsec out reqid {request_id(udp_port)}")
        rules += _outgoing(named(bridge), as_ours, trusted, owner)
    return table(_FAMILY, table_of(bridge), rules)


def _incoming(port: str, bridge: str, trusted: list[tuple[str, str]], decrypted: bool) -> list[str]:
    # At input, not before: VXLAN that is only forwarded by this host is none of our business.
    rules = chain("incoming", "input", "raw", f"udp dport {port} goto admitted")
    # A decrypted packet passes here a second time, and is known by the state it came by.
    admitted = ["meta secpath exists accept"] if decrypted else []
    if trusted:
        admitted.append(f"iifname {bridge} counter drop")
        # What this host sends to itself has passed `outgoing`.
        admitted.append('iifname != "lo" fib saddr . iif oif missing counter drop')
    admitted += [f"{family} saddr {nets} {family} daddr {nets} accept" for family, nets in trusted]
    return chain("admitted", None, "", *admitted, "counter drop") + rules


def _outgoing(
    bridge: str, as_ours: list[str], trusted: list[tuple[str, str]], owner: int
) -> list[str]:
    """`as_ours`: what would pass for a VXLAN device's."""
    # What goes into the bridge is inside the inner network: there is nothing to break into.
    own = (
        f"oifname {bridge} accept",
        f"meta skuid != {owner} meta priority != {_FRAME_INSIDE} counter drop",
    )
    forwarded = [f"iifname {bridge} counter drop"] + [
        f"fib saddr . iif oif exists {family} saddr {nets} accept" for family, nets in trusted
    ]
    # After any NAT of destinations, which comes before filters; sources matter only as they were.
    return [
        *chain("own", None, "", *own),
        *chain("outgoing", "output", "security", *(f"{what} goto own" for what in as_ours)),
        *chain("forwarded", None, "", own[0], *forwarded, "counter drop"),
        *chain("through", "forward", "security", *(f"{what} goto forwarded" for what in as_ours)),
        # Other programs' VXLAN devices carry processes' frames to the same hosts, too.
        *chain(
            "inside",
            "postrouting",
            "security",
            *(
                f"{device} meta skuid != {owner} meta priority set {_FRAME_INSIDE}"
                for device in (f"oifname {bridge}", "meta oifkind vxlan")
            ),
        ),
    ]


def _by_family(networks: Iterable[Network]) -> list[tuple[str, str]]:
    """nft's word for each IP version that there are networks of, and those."""
    known, found = list(networks), []
    for version, family in ((4, "ip"), (6, "ip6")):
        of_family = [network for network in known if network.version == version]
        if of_family:
            collapsed = ipaddress.collapse_addresses(of_family)  # type: ignore[type-var]
            found.append((family, f"{{ {', '.join(map(str, collapsed))} }}"))
    return found


def _ports(ours: int, theirs: Collection[int]) -> str:
    return f"{{ {', '.join(sorted({_port(ours), *map(_port, theirs)}, key=int))} }}"


class Guard(KeptTable):
    """A ruleset that stays in force. For one thread, in its network namespace."""

    def __init__(self, bridge: str, rules: str) -> None:
        super().__init__(_FAMILY, table_of(bridge), rules, "keep strangers' VXLAN out")


def remove(bridge: str) -> None:
    """Remove the table; missing is fine."""
    remove_table(_FAMILY, table_of(bridge))


def _port(number: int) -> str:
    if not 0 < number < 65536:
        raise ValueError(f"not a port: {number}")
    return str(number)
