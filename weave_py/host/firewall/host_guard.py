"""What may a container say to its host, and to the networks behind it? (nft(8))

The bridge is the host's door to the inner network, and shut unless `weave-py expose` opens it:

    in       only what is addressed to an address that the bridge itself has, whichever it has at
             that moment; no link-local ones, but for neighbour discovery; and, from whom the host
             would answer by the bridge, to everybody or a group. Never the router's ports (and,
             where the network may have routers, what one of them or a DHCP server is asked)
    through  what this host would route elsewhere: only from those whom it would answer by the
             bridge, so that without an address on it there is nobody

Frames from port to port of the bridge are none of its business, also where netfilter sees them.
"""

from __future__ import annotations

from collections.abc import Collection

from weave_py.host.firewall.tables import KeptTable, chain, named, table, table_of

_PRIORITY = "-10"  # before the chains of users, which then need not look at what is dropped

_ANSWERED = "fib saddr . iif oif exists"
"""Whom the host would answer by the way it came; without an address there, nobody."""
_QUESTIONS = ("icmpv6 type nd-router-solicit accept", "udp dport { 67, 547 } accept")


def host_guard(bridge: str, ports: Collection[int], allow_routers: bool) -> KeptTable:
    """`ports`: TCP and UDP, of the router. HostError for a bridge that nft cannot name."""
    purpose = f"keep containers of {bridge} out of this host"
    return KeptTable(*table_name(bridge), rules(bridge, ports, allow_routers), purpose)


def rules(bridge: str, ports: Collection[int], allow_routers: bool) -> str:
    """What is loaded."""
    name = named(bridge)
    routers = ", ".join(map(str, sorted(set(ports))))
    incoming = (
        f"iifname != {name} accept",
        f"meta l4proto {{ tcp, udp }} th dport {{ {routers} }} counter drop",
        # Else nobody would find an exposed IPv6 address; the kernel speaks of the bridge's only.
        "icmpv6 type { nd-neighbor-solicit, nd-neighbor-advert } accept",
        *(_QUESTIONS if allow_routers else ()),
        "ip6 daddr fe80::/10 counter drop",
        f"meta nfproto ipv4 fib daddr type {{ broadcast, multicast }} {_ANSWERED} accept",
        f"ip6 saddr != fe80::/10 ip6 daddr ff00::/8 {_ANSWERED} accept",
        "fib daddr . iif type != local counter drop",
    )
    through = f"iifname {name} oifname != {name} fib saddr . iif oif missing counter drop"
    lines = chain("incoming", "input", _PRIORITY, *incoming)
    lines += chain("through", "forward", _PRIORITY, through)
    return table(*table_name(bridge), lines)


def table_name(bridge: str) -> tuple[str, str]:
    """Family and name of the table."""
    return "inet", f"{table_of(bridge)}-host"
