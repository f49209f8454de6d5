"""How is a KernelState read? With a few dumps of all devices, or a few questions about one peer's.

Reading 100 peers takes some 40 ms, one peer half a millisecond: so look at whoever an event is
about (`fastdp.kernel.events`), and at all only when it is not known what changed.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from fastdp.kernel import tc
from fastdp.kernel.netdev import (
    Link,
    index_of,
    link_named,
    links_of_kind,
    remotes_of,
    vxlan_identity,
)
from fastdp.kernel.tc import EVERYTHING, PASS, PROBES, Action, Filter, Hook
from fastdp.plan.state import (
    INTO_PORT_SLOT,
    PROBE_IN_SLOT,
    PROBE_OUT_SLOT,
    REDIRECT_SLOTS,
    Device,
    KernelState,
    Port,
    Redirect,
    Remote,
    TapFilters,
    TapLink,
    VxlanLink,
    alias_of,
    peer_of,
)
from weave_py.host.rtnl import RouteSocket
from weave_py.model.names import PeerName

Links = dict[PeerName, Link]


def aside() -> Action:
    """Where probes go: to `lo`, where no protocol takes their ethertype (a packet socket may)."""
    return Action(index_of("lo"), ingress=True)


def read(
    sock: RouteSocket, bridge: str, peers: Iterable[PeerName] | None
) -> tuple[KernelState, Mapping[int, PeerName]]:
    """The state of these peers or (None) of all, and whose each device is, by index."""
    taps, vxlans = _all(sock) if peers is None else _some(sock, peers)
    vxlans = {peer: link for peer, link in vxlans.items() if link.alias == alias_of(bridge)}
    found = link_named(sock, bridge)
    master = found.index if found is not None else -1
    by_index = {link.index: link for link in vxlans.values()}
    if peers is None:
        remotes = remotes_of(sock, by_index)
    else:
        remotes = {}
        for index in by_index:
            remotes |= remotes_of(sock, by_index, index)
    state = KernelState(
        {peer: _tap(sock, link, vxlans.get(peer), master) for peer, link in taps.items()},
        {
            peer: _vxlan(sock, link, taps.get(peer), master, remotes.get(link.index, []))
            for peer, link in vxlans.items()
        },
    )
    owners = {link.index: peer for links in (taps, vxlans) for peer, link in links.items()}
    return state, owners


def _all(sock: RouteSocket) -> tuple[Links, Links]:
    found: dict[Device, Links] = {Device.TAP: {}, Device.VXLAN: {}}
    for kind, expected in (("tun", Device.TAP), ("vxlan", Device.VXLAN)):
        for link in links_of_kind(sock, kind):
            whose = peer_of(link.name)
            if whose is not None and whose[0] is expected:
                found[expected][whose[1]] = link
    return found[Device.TAP], found[Device.VXLAN]


def _some(sock: RouteSocket, peers: Iterable[PeerName]) -> tuple[Links, Links]:
    taps: Links = {}
    vxlans: Links = {}
    for peer in peers:
        for device, kind, links in ((Device.TAP, "tun", taps), (Device.VXLAN, "vxlan", vxlans)):
            link = link_named(sock, device.ifname(peer))
            if link is not None and link.kind == kind:
                links[peer] = link
    return taps, vxlans


def _port(link: Link, master: int) -> Port | None:
    return link.port if link.master == master else None


def _tap(sock: RouteSocket, link: Link, vxlan: Link | None, master: int) -> TapLink:
    listed = tc.listed(sock, link.index, Hook.INGRESS)
    if not listed:
        where = TapFilters.NONE
    elif vxlan is not None and listed == [
        Filter(PROBE_IN_SLOT, PROBES, PASS),
        Filter(INTO_PORT_SLOT, EVERYTHING, Action(vxlan.index, ingress=True)),
    ]:
        where = TapFilters.INTO_PORT
    else:
        where = TapFilters.OTHER
    return TapLink(link.up, link.mtu, link.queue, _port(link, master), where)


def _vxlan(
    sock: RouteSocket, link: Link, tap: Link | None, master: int, remotes: list[Remote]
) -> VxlanLink:
    vni, udp_port, ipv6, local = vxlan_identity(link)
    egress = tc.listed(sock, link.index, Hook.EGRESS)
    drop = Filter(PROBE_IN_SLOT, PROBES, aside())
    let_pass = Filter(PROBE_OUT_SLOT, PROBES, PASS)
    to_tap = None if tap is None else Action(tap.index)
    return VxlanLink(
        vni=vni,
        udp_port=udp_port,
        ipv6=ipv6,
        local=local,
        remotes=tuple(remotes),
        up=link.up,
        mtu=link.mtu,
        port=_port(link, master),
        guarded=let_pass in egress and drop in tc.listed(sock, link.index, Hook.INGRESS),
        redirects=tuple(
            Redirect(each.slot, to_tap is not None and each.action == to_tap)
            for each in egress
            if each.slot in REDIRECT_SLOTS and each.match == EVERYTHING
        ),
    )
