"""Do we say to rtnetlink what we mean, and read what it says? As pyroute2 reads and writes it."""

from __future__ import annotations

import socket
from typing import Any

import pytest
from pyroute2.netlink.rtnl.ifaddrmsg import ifaddrmsg
from pyroute2.netlink.rtnl.ifinfmsg import ifinfmsg
from pyroute2.netlink.rtnl.ndmsg import ndmsg

from fastdp.kernel import netdev, vxlan
from fastdp.plan.state import Remote
from weave_py.host import link_requests, linkinfo
from weave_py.host.rtnl import RTM_DELLINK, RTM_NEWLINK, RTM_NEWNEIGH, RTM_SETLINK, Request

MAC = "8a:3e:00:00:00:01"
HEADER = 16


def read(message: type, request: Request) -> Any:
    """As pyroute2 understands it."""
    kind, flags, payload = request
    header = (HEADER + len(payload)).to_bytes(4, "little") + kind.to_bytes(2, "little")
    found = message(header + flags.to_bytes(2, "little") + bytes(8) + payload)
    found.decode()
    return found


def written(message: Any) -> bytes:
    """The payload of a message of pyroute2's."""
    message.encode()
    return bytes(message.data[HEADER:])


def test_a_bridge_that_neither_waits_nor_snoops_nor_learns_without_end() -> None:
    request = link_requests.creating("weave", "bridge", mac=MAC)
    assert request[:2] == (RTM_NEWLINK, 0x600)  # create, and only create
    made = read(ifinfmsg, request)
    assert (made.get_attr("IFLA_IFNAME"), made.get_attr("IFLA_ADDRESS")) == ("weave", MAC)
    assert made.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "bridge"
    assert made.get_attr("IFLA_MTU") is None

    at_once = link_requests.changing_kind(7, "bridge", link_requests.BRIDGE_AT_ONCE)
    changed = read(ifinfmsg, at_once)
    assert (at_once[:2], changed["index"]) == ((RTM_NEWLINK, 0), 7)
    data = changed.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")
    told = dict(data["attrs"])
    told.pop("UNKNOWN", None)  # what pyroute2 does not know yet: see tests/netns
    assert {name: told[name] for name in told if name != "IFLA_BR_MULTI_BOOLOPT"} == {
        "IFLA_BR_FORWARD_DELAY": 0,
        "IFLA_BR_STP_STATE": 0,
        "IFLA_BR_MCAST_SNOOPING": 0,
    }


@pytest.mark.parametrize(
    ("ipv6", "local", "address"),
    [
        (False, None, {"IFLA_VXLAN_LOCAL": "0.0.0.0"}),
        (False, "10.99.1.2", {"IFLA_VXLAN_LOCAL": "10.99.1.2"}),
        (True, None, {"IFLA_VXLAN_LOCAL6": "::"}),
        (True, "fd00::1", {"IFLA_VXLAN_LOCAL6": "fd00::1"}),
    ],
)
def test_a_vxlan_device_moves(ipv6: bool, local: str | None, address: dict[str, str]) -> None:
    changed = read(ifinfmsg, vxlan.moving(9, ipv6, local))
    assert changed.get_nested("IFLA_LINKINFO", "IFLA_INFO_KIND") == "vxlan"
    assert dict(changed.get_nested("IFLA_LINKINFO", "IFLA_INFO_DATA")["attrs"]) == address


@pytest.mark.parametrize("up", [True, False, None])
def test_a_change_says_what_is_to_change_and_no_more(up: bool | None) -> None:
    request = link_requests.changing(5, up=up, mtu=1400, master=0, alias="weave-py")
    changed = read(ifinfmsg, request)
    assert (request[:2], changed["index"]) == ((RTM_SETLINK, 0), 5)
    assert (changed["flags"] & 1, changed["change"]) == (int(bool(up)), int(up is not None))
    wanted = {"IFLA_MTU": 1400, "IFLA_MASTER": 0, "IFLA_IFALIAS": "weave-py"}
    assert dict(changed["attrs"]) == wanted
    more = read(ifinfmsg, link_requests.changing(5, mac=MAC, queue=3, gso_max_size=65536))
    assert dict(more["attrs"]) == {
        "IFLA_TXQLEN": 3,
        "IFLA_GSO_MAX_SIZE": 65536,
        "IFLA_ADDRESS": MAC,
    }


def test_to_delete_names_the_index() -> None:
    request = link_requests.deleting(12)
    assert request[:2] == (RTM_DELLINK, 0)
    assert read(ifinfmsg, request)["index"] == 12


@pytest.mark.parametrize("isolated", [True, False])
def test_a_port_is_isolated(isolated: bool) -> None:
    changed = read(ifinfmsg, link_requests.isolating(3, isolated))
    assert changed["family"] == socket.AF_BRIDGE
    assert changed.get_nested("IFLA_PROTINFO", "IFLA_BRPORT_ISOLATED") == isolated


@pytest.mark.parametrize("host", ["192.0.2.7", "2001:db8::7"])
def test_where_a_vxlan_device_sends(host: str) -> None:
    request = netdev.adding_remote(4, Remote(host, 4789, 0x123456))
    assert request[:2] == (RTM_NEWNEIGH, 0xC00)  # create, or append to those that are there
    assert netdev.removing_remote(4, Remote(host, 4789, 0x123456))[2] == request[2]
    entry = read(ndmsg, request)
    assert (entry["family"], entry["ifindex"], entry["flags"]) == (socket.AF_BRIDGE, 4, 2)
    assert entry["state"] == 0xC0
    found = dict(entry["attrs"])
    assert found.pop("NDA_DST") == host
    assert found == {"NDA_LLADDR": "00:00:00:00:00:00", "NDA_PORT": 4789, "NDA_VNI": 0x123456}


def test_an_interface_is_read() -> None:
    message = ifinfmsg()
    message["index"], message["flags"] = 6, 0x1
    port = {"attrs": [["IFLA_BRPORT_STATE", 3], ["IFLA_BRPORT_ISOLATED", 1]]}
    info = [["IFLA_INFO_KIND", "tun"], ["IFLA_INFO_SLAVE_KIND", "bridge"]]
    message["attrs"] = [
        ["IFLA_IFNAME", "wvt0"],
        ["IFLA_MTU", 1376],
        ["IFLA_MASTER", 2],
        ["IFLA_IFALIAS", "ours"],
        ["IFLA_LINKINFO", {"attrs": [*info, ["IFLA_INFO_SLAVE_DATA", port]]}],
    ]
    found = linkinfo.interface_of(written(message))
    assert found == linkinfo.Interface(6, "wvt0", "tun", "ours", True, 1376, 2, 3, True)


def test_a_physical_interface_has_no_kind_and_is_no_port() -> None:
    message = ifinfmsg()
    message["index"] = 1
    message["attrs"] = [["IFLA_IFNAME", "eth0"], ["IFLA_MTU", 1500]]
    found = linkinfo.interface_of(written(message))
    assert found == linkinfo.Interface(1, "eth0", "", "", False, 1500, 0, None, False)


@pytest.mark.parametrize(
    ("scope", "flags", "is_usable"),
    [(0, 0x80, True), (0, 0x40, False), (0, 0x08, False), (0, 0x20, False), (253, 0, False)],
)
def test_an_address_is_read(scope: int, flags: int, is_usable: bool) -> None:
    message = ifaddrmsg()
    message["family"], message["prefixlen"], message["scope"] = socket.AF_INET, 24, scope
    message["index"] = 3
    message["attrs"] = [
        ["IFA_ADDRESS", "192.0.2.2"],  # the other end's
        ["IFA_LOCAL", "192.0.2.1"],
        ["IFA_FLAGS", flags],
    ]
    found = linkinfo.address_of(written(message))
    assert found == linkinfo.Address(3, "192.0.2.1", 24, False, is_usable)
    assert found.text == "192.0.2.1/24"


def test_a_link_local_address_is_known() -> None:
    message = ifaddrmsg()
    message["family"], message["prefixlen"], message["scope"] = socket.AF_INET6, 64, 253
    message["attrs"] = [["IFA_ADDRESS", "fe80::1"]]
    assert linkinfo.address_of(written(message)).is_link_local


def test_a_port_that_hears_only_what_is_for_it() -> None:
    quiet = read(ifinfmsg, link_requests.quieting(7))
    assert dict(quiet.get_attr("IFLA_PROTINFO")["attrs"]) == dict.fromkeys(
        (
            "IFLA_BRPORT_LEARNING",
            "IFLA_BRPORT_UNICAST_FLOOD",
            "IFLA_BRPORT_MCAST_FLOOD",
            "IFLA_BRPORT_BCAST_FLOOD",
        ),
        0,
    )
    known = read(ndmsg, link_requests.knowing(7, MAC))
    assert (known["ifindex"], known["state"], known["flags"]) == (7, 0x40, 0x04)
    assert known.get_attr("NDA_LLADDR") == MAC


def test_whether_a_bridge_calls_netfilter() -> None:
    message = ifinfmsg()
    message["index"] = 3
    data = {"attrs": [["IFLA_BR_NF_CALL_IPTABLES", 1], ["IFLA_BR_NF_CALL_IP6TABLES", 0]]}
    info = {"attrs": [["IFLA_INFO_KIND", "bridge"], ["IFLA_INFO_DATA", data]]}
    message["attrs"] = [["IFLA_IFNAME", "weave"], ["IFLA_LINKINFO", info]]
    assert linkinfo.interface_of(written(message)).calls_netfilter == (True, False)
