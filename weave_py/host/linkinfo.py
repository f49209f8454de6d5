"""What does a netlink message say about an interface, a port or an address?

The messages are pyroute2's, which has no types: what leaves here and `host.netlink` has some.
"""

from __future__ import annotations

import ipaddress
from dataclasses import dataclass
from typing import Any, Final

BRIDGE_ALIAS: Final = "weave-py"
"""The mark on a bridge that we made."""


@dataclass(frozen=True, slots=True)
class PortInfo:
    """One port of a bridge."""

    ifname: str
    kind: str
    """As in `ip -d link`: tun, veth, vxlan …; empty for physical interfaces."""
    isolated: bool
    ifindex: int


def alias_of(link: Any) -> str:
    """What somebody wrote on it (`ip link set … alias`)."""
    return str(link.get_attr("IFLA_IFALIAS") or "")


def kind_of(link: Any) -> str:
    """The kind of an interface: tun, veth, bridge …; empty for a physical one."""
    info = link.get_attr("IFLA_LINKINFO")
    return str(info.get_attr("IFLA_INFO_KIND") or "") if info else ""


def bridge_attribute(link: Any, name: str) -> int | None:
    """An attribute of a bridge; None if it is none, or (`link` None) not there."""
    info = link.get_attr("IFLA_LINKINFO") if link else None
    data = info.get_attr("IFLA_INFO_DATA") if info and kind_of(link) == "bridge" else None
    value: int | None = data.get_attr(name) if data else None
    return value


def port_attribute(link: Any, name: str) -> int | None:
    """An attribute that an interface has as a port of a bridge; None if it is none."""
    info = link.get_attr("IFLA_LINKINFO")
    data = info.get_attr("IFLA_INFO_SLAVE_DATA") if info else None
    value: int | None = data.get_attr(name) if data else None
    return value


def address_of(entry: Any) -> str:
    """The address of an address message."""
    # On a point-to-point interface IFA_ADDRESS is the other end's.
    return str(entry.get_attr("IFA_LOCAL") or entry.get_attr("IFA_ADDRESS"))


def address_fields(interface: ipaddress.IPv4Interface | ipaddress.IPv6Interface) -> dict[str, Any]:
    """The fields that name an address in a request."""
    return {"address": str(interface.ip), "prefixlen": interface.network.prefixlen}


def port_info(link: Any) -> PortInfo:
    """An interface that is a port, as we show it."""
    return PortInfo(
        ifname=link.get_attr("IFLA_IFNAME"),
        kind=kind_of(link),
        isolated=bool(port_attribute(link, "IFLA_BRPORT_ISOLATED")),
        ifindex=link["index"],
    )
