"""Are the kernel's messages about routes read as they are meant?"""

from __future__ import annotations

import socket
import struct
from ipaddress import ip_address, ip_network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from weave_py.host.route_list import KernelRoute, parse_route
from weave_py.host.rtnl import attribute

NAMES = {2: "eth0", 3: "eth1"}
UNICAST, LOCAL, BROADCAST, ANYCAST, MULTICAST, BLACKHOLE = 1, 2, 3, 4, 5, 6


def message(family: int, length: int, kind: int, *more: bytes, flags: int = 0) -> bytes:
    head = struct.pack("=BBBBBBBBI", family, length, 0, 0, 254, 3, 0, kind, flags)
    return head + b"".join(more)


def number(value: int) -> bytes:
    return struct.pack("=I", value)


def test_a_route_with_a_gateway() -> None:
    payload = message(
        socket.AF_INET,
        16,
        UNICAST,
        attribute(1, bytes([10, 1, 0, 0])),
        attribute(4, number(2)),
        attribute(5, bytes([10, 9, 0, 1])),
    )
    assert parse_route(payload, NAMES) == KernelRoute(
        ip_network("10.1.0.0/16"), frozenset({"eth0"}), (ip_address("10.9.0.1"),)
    )


def test_a_default_route_names_no_destination() -> None:
    payload = message(socket.AF_INET6, 0, UNICAST, attribute(4, number(9)))
    assert parse_route(payload, NAMES) == KernelRoute(
        ip_network("::/0"), frozenset({"interface 9"}), ()
    )


def test_several_next_hops() -> None:
    gateways = [bytes([10, 9, 0, 1]), bytes([10, 9, 0, 2])]
    hops = b"".join(
        struct.pack("=HBBi", 16, 0, 0, index) + attribute(5, gateway)
        for index, gateway in zip(NAMES, gateways, strict=True)
    )
    found = parse_route(message(socket.AF_INET, 0, UNICAST, attribute(9, hops)), NAMES)
    assert found is not None
    assert found.ifnames == {"eth0", "eth1"}
    assert found.gateways == tuple(map(ip_address, gateways))


def test_a_gateway_of_the_other_family() -> None:
    gateway = ip_address("fd00::1")
    via = attribute(18, struct.pack("=H", socket.AF_INET6) + gateway.packed)
    found = parse_route(message(socket.AF_INET, 0, UNICAST, via), NAMES)
    assert found is not None
    assert found.gateways == (gateway,)


@pytest.mark.parametrize(
    ("kind", "followed"),
    [(UNICAST, True), (LOCAL, True), (BLACKHOLE, True)]
    + [(kind, False) for kind in (0, BROADCAST, ANYCAST, MULTICAST, 9, 11)],
)
def test_what_packets_follow(kind: int, followed: bool) -> None:
    assert (parse_route(message(socket.AF_INET, 0, kind), NAMES) is not None) == followed
    assert parse_route(message(socket.AF_INET, 0, kind, flags=0x200), NAMES) is None
    assert parse_route(message(socket.AF_BRIDGE, 0, kind), NAMES) is None


@given(st.binary(max_size=40))
def test_odd_next_hops_are_left_out(hops: bytes) -> None:
    parse_route(message(socket.AF_INET, 0, UNICAST, attribute(9, hops)), NAMES)
