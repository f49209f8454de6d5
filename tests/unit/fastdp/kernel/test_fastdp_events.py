"""Are netlink's bytes understood, and strange ones survived?"""

from __future__ import annotations

import socket
import struct

from hypothesis import given
from hypothesis import strategies as st

from fastdp.kernel.events import concerned
from fastdp.kernel.netdev import link_of, vxlan_identity
from fastdp.plan.state import Device, Port
from weave_py.host.rtnl import (
    NESTED,
    RTM_DELLINK,
    RTM_NEWLINK,
    RTM_NEWNEIGH,
    RTM_NEWTFILTER,
    attribute,
    attributes,
    messages,
    text,
)
from weave_py.model.names import PeerName

PEER = PeerName(bytes.fromhex("8a3e00112233"))
OWNERS = {7: PEER}


def message(kind: int, payload: bytes) -> bytes:
    return struct.pack("=IHHII", 16 + len(payload), kind, 0, 0, 0) + payload


def new_link(index: int, name: str, more: bytes = b"", flags: int = 1) -> bytes:
    header = struct.pack("=BxHiII", 0, 0, index, flags, 0)
    return header + attribute(3, name.encode() + b"\0") + more


def new_neighbour(index: int, flags: int) -> bytes:
    return struct.pack("=BxxxiHBB", socket.AF_BRIDGE, index, 0x80, flags, 0)


def test_whom_events_are_about() -> None:
    def whom(kind: int, payload: bytes) -> tuple[set[PeerName], bool]:
        found = concerned(message(kind, payload), "weave", OWNERS)
        assert bool(found) is (bool(found.peers) or found.bridge)
        return set(found.peers), found.bridge

    assert whom(RTM_NEWLINK, new_link(9, Device.TAP.ifname(PEER))) == ({PEER}, False)
    assert whom(RTM_NEWLINK, new_link(9, Device.VXLAN.ifname(PEER))) == ({PEER}, False)
    assert whom(RTM_NEWLINK, new_link(7, "renamed")) == ({PEER}, False)
    assert whom(RTM_NEWLINK, new_link(3, "weave")) == (set(), True)
    assert whom(RTM_NEWLINK, new_link(3, "eth0")) == (set(), False)
    assert whom(RTM_NEWTFILTER, struct.pack("=BxxxiIII", 0, 7, 0, 0, 0)) == ({PEER}, False)
    assert whom(RTM_NEWTFILTER, struct.pack("=BxxxiIII", 0, 8, 0, 0, 0)) == (set(), False)
    assert whom(RTM_NEWNEIGH, new_neighbour(7, 0x02)) == ({PEER}, False)
    # A MAC that the bridge has learned: there are thousands of them.
    assert whom(RTM_NEWNEIGH, new_neighbour(7, 0x04)) == (set(), False)
    assert whom(RTM_NEWNEIGH, new_neighbour(8, 0x02)) == (set(), False)


def test_several_events_come_at_once() -> None:
    data = message(RTM_NEWLINK, new_link(3, "weave")) + message(RTM_NEWNEIGH, new_neighbour(7, 2))
    found = concerned(data, "weave", OWNERS)
    assert (found.peers, found.bridge) == (frozenset({PEER}), True)


def vxlan(name: str, port: int, alias: str = "") -> bytes:
    data = attribute(1, struct.pack("=I", 7000)) + attribute(15, struct.pack("!H", port))
    info = attribute(1, b"vxlan\0") + attribute(2 | NESTED, data)
    mark = attribute(20, alias.encode() + b"\0") if alias else b""
    return new_link(9, name, attribute(18 | NESTED, info) + mark)


def test_others_vxlan_devices_are_noticed() -> None:
    """t24: also those that are moved to another namespace at once, as Docker does."""

    def ports(payload: bytes, kind: int = RTM_NEWLINK) -> set[int]:
        return set(concerned(message(kind, payload), "weave", OWNERS).foreign_ports)

    assert ports(vxlan("vx9", 4789)) == {4789}
    assert ports(vxlan("vx9", 4789, "somebody's")) == {4789}
    assert ports(vxlan("vx9", 4789), RTM_DELLINK) == set()
    ours = Device.VXLAN.ifname(PEER)
    assert ports(vxlan(ours, 4789)) == set()  # its mark follows
    assert ports(vxlan(ours, 4789, "weave-py weave")) == set()
    assert ports(vxlan("renamed", 4789, "weave-py weave")) == set()
    assert ports(vxlan(ours, 4789, "weave-py other")) == set()  # or both would run away
    assert ports(vxlan("wvx-123", 4789)) == set()  # a self-test's
    assert ports(new_link(9, "eth0")) == set()


@given(st.binary(max_size=200), st.sampled_from([RTM_NEWLINK, RTM_NEWNEIGH, RTM_NEWTFILTER]))
def test_no_bytes_are_too_strange(data: bytes, kind: int) -> None:
    concerned(data, "weave", OWNERS)
    concerned(message(kind, data), "weave", OWNERS)
    attributes(data)
    list(messages(data))


def test_links_are_understood() -> None:
    slave = attribute(33, b"\1") + b"".join(attribute(each, b"\1") for each in (9, 27, 30))
    data = (
        attribute(1, struct.pack("=I", 7000))
        + attribute(15, struct.pack("!H", 6784))
        + attribute(17, socket.inet_pton(socket.AF_INET6, "2001:db8::1"))
        + attribute(20, b"\1")
    )
    info = attribute(1, b"vxlan\0") + attribute(2 | NESTED, data) + attribute(5 | NESTED, slave)
    more = (
        attribute(4, struct.pack("=I", 1376))
        + attribute(10, struct.pack("=I", 3))
        + attribute(16, b"\6")
        + attribute(18 | NESTED, info)
        + attribute(20, b"weave-py weave\0")
    )
    link = link_of(new_link(7, "wvx8a3e00112233", more))
    assert (link.index, link.name, link.kind, link.alias) == (
        7,
        "wvx8a3e00112233",
        "vxlan",
        "weave-py weave",
    )
    assert (link.up, link.mtu, link.master, link.port) == (True, 1376, 3, Port(True, True))
    assert vxlan_identity(link) == (7000, 6784, True, "2001:db8::1")
    dormant = link_of(new_link(7, "wvx8a3e00112233", attribute(16, b"\5")))
    assert not dormant.up
    assert not link_of(new_link(7, "wvx8a3e00112233", flags=0)).up


def test_strings_end() -> None:
    assert text(None) == ""
    assert text(b"lo\0") == "lo"
