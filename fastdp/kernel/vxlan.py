"""How is a VXLAN device made? (RFC 7348; ip-link(8))"""

from __future__ import annotations

from typing import Any, Final

from fastdp.kernel.netdev import index_of, link_named
from fastdp.plan.operations import AddVxlan
from weave_py.host.refusal import doing
from weave_py.host.rtnl import RouteSocket
from weave_py.host.sysctl import require_sysctl
from weave_py.model.errors import HostError

_NO_CHECKSUM6: Final = {"vxlan_udp_zero_csum6_tx": 1, "vxlan_udp_zero_csum6_rx": 1}


def create(ip: Any, name: str, alias: str, new: AddVxlan) -> int:
    """Make the device, marked with `alias` and down; its index.

    It learns nothing (it has one peer), computes no UDP checksum (what it carries has its own),
    and lets its packets be cut by nobody: who sends too much is told so.
    """
    ip.link(
        "add",
        ifname=name,
        kind="vxlan",
        # With an address from the start, or udev would choose one later.
        address=new.mac,
        mtu=new.mtu,
        vxlan_id=new.vni,
        vxlan_port=new.udp_port,
        vxlan_learning=0,
        vxlan_df=1,
        vxlan_udp_csum=0,
        **local(new.ipv6, new.local),
        **(_NO_CHECKSUM6 if new.ipv6 else {}),
    )
    try:
        index = index_of(name)
        ip.link("set", index=index, ifalias=alias)
        # It only passes frames on: it must not speak IPv6 (MLD, ND) to the other side.
        require_sysctl(f"ipv6/conf/{name}/disable_ipv6", 1)
    except BaseException:
        ip.link("del", ifname=name)
        raise
    return index


def remove_unfinished(ip: Any, sock: RouteSocket, name: str, mac: str) -> None:
    """Make room for the device. HostError if somebody else's has its name.

    What we left unmarked when we were killed in the middle has the MAC that we would give.
    """
    with doing(f"cannot create VXLAN device {name}"):
        link = link_named(sock, name)
        if link is None:
            return
        if link.kind == "vxlan" and link.mac == mac and not link.up and not link.alias:
            ip.link("del", index=link.index)
            return
    raise HostError(
        f"interface {name} exists already and is not ours: "
        f"remove it (ip link delete {name}) or stop the program that made it"
    )


def local(ipv6: bool, address: str | None) -> dict[str, str]:
    """The source address of what it sends. Unspecified, it still tells the family."""
    if ipv6:
        return {"vxlan_local6": address or "::"}
    return {"vxlan_local": address or "0.0.0.0"}
