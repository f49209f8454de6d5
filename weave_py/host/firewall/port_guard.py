"""What may whoever is behind a port of the bridge say to the others? (nft(8), family bridge)

Of the ports that we make, containers' and peers'. What users plug in by themselves (a network
card, a virtual machine) is theirs to guard; on other hosts it comes by the port of a peer.

    no router  neither router advertisements and redirects nor what DHCP servers say, unless the
               network has such (`--allow-routers`)
    no crowd   a port introduces so many MACs at once and so many a second; frames from further
               ones are dropped before the bridge learns of them, and before they are flooded to
               all hosts, so that there is room for those of others. Only where so many ports
               flood at once that there is no room to tell their MACs apart are ports no longer
               counted: a switch that is full floods, but it goes on

Frames are told by what they are after a VLAN tag, as the kernel that receives them does: it takes
tags of VLAN 0 off, any number of them, and so nobody needs two.
"""

from __future__ import annotations

from typing import Final

from weave_py.host.firewall.tables import KeptTable, chain, table, table_of
from weave_py.host.link_requests import MOST_LEARNED
from weave_py.model.marks import TAP_PREFIX, VETH_PREFIX, VXLAN_PREFIX

MACS_AT_ONCE: Final = 2048
MACS_PER_SECOND: Final = 8
REMEMBERED_SECONDS: Final = 300
"""As long as the bridge remembers a MAC; afterwards it is a new one."""
MOST_MACS: Final = MACS_AT_ONCE + MACS_PER_SECOND * REMEMBERED_SECONDS
"""Of one port, at any time."""

MOST_KNOWN: Final = 4 * MOST_LEARNED
"""MACs of all ports, some 100 bytes each while they are there: more than twenty ports' worth."""
CROWDED_SECONDS: Final = 2
"""A port one of whose MACs found no room is not counted for so long."""

_MOST_PORTS: Final = 4096
_PORT_SECONDS: Final = 3600
"""So long after its last new MAC a port has its whole budget anyway."""
_PRIORITY: Final = "-300"
_NO_ROUTERS: Final = (
    "meta protocol ip6 icmpv6 type { nd-router-advert, nd-redirect } counter drop",
    "meta protocol ip icmp type redirect counter drop",
    "meta protocol { ip, ip6 } meta l4proto udp udp sport { 67, 547 } counter drop",
)
_NO_SECOND_TAG: Final = "meta protocol { 8021q, 8021ad } @ll,112,16 & 0x0fff == 0 counter drop"


def port_guard(bridge: str, allow_routers: bool) -> KeptTable:
    """HostError for a bridge that has no such name."""
    purpose = f"keep what containers of {bridge} say within bounds"
    return KeptTable(*table_name(bridge), rules(bridge, allow_routers), purpose)


def rules(bridge: str, allow_routers: bool) -> str:
    """What is loaded."""
    sender = "meta iif . ether saddr"
    guarded = [
        *(() if allow_routers else (_NO_SECOND_TAG, *_NO_ROUTERS)),
        f"{sender} @known accept",
        "meta iif @crowded accept",
        f"update @ports {{ meta iif limit rate over {MACS_PER_SECOND}/second "
        f"burst {MACS_AT_ONCE} packets }} counter drop",
        # (Where there is no room the rule ends here, and the next one is reached.)
        f"add @known {{ {sender} }} accept",
        "add @crowded { meta iif }",
    ]
    lines = [
        *_set("known", sender, MOST_KNOWN, REMEMBERED_SECONDS),
        *_set("crowded", "meta iif", _MOST_PORTS, CROWDED_SECONDS),
        *_set("ports", "meta iif", _MOST_PORTS, _PORT_SECONDS),
        *chain("guarded", None, "", *guarded),
        *chain(
            "ports",
            "prerouting",
            _PRIORITY,
            *(
                f'iifname "{prefix}*" goto guarded'
                for prefix in (TAP_PREFIX, VXLAN_PREFIX, VETH_PREFIX)
            ),
        ),
    ]
    return table(*table_name(bridge), lines)


def table_name(bridge: str) -> tuple[str, str]:
    """Family and name of the table."""
    return "bridge", f"{table_of(bridge)}-ports"


def _set(name: str, key: str, size: int, seconds: int) -> list[str]:
    # (Its elements are made by frames; one too many is not made.)
    about = f"typeof {key}; flags dynamic,timeout; size {size}; timeout {seconds}s;"
    return [f"    set {name} {{ {about} }}"]
