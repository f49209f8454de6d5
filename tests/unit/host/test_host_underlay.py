"""Which devices lead into an inner network, and which bridges have no wire?"""

from __future__ import annotations

import pytest

from weave_py.host.underlay import Device, inside_of, lonely_of
from weave_py.model.marks import MARK


def device(index: int, name: str, kind: str = "", **more: object) -> Device:
    return Device(index, name, kind, str(more.pop("alias", "")), True, **more)  # type: ignore[arg-type]


LO, ETH0 = device(1, "lo"), device(2, "eth0")
OURS = device(10, "weave", "bridge")
V0, V1 = (
    device(11, "v0", "veth", master=10, below=12),
    device(12, "v1", "veth", below=11),
)


def is_peers_port(name: str) -> bool:
    return name.startswith("wvt")


@pytest.mark.parametrize(
    ("more", "expected"),
    [
        ([], {10}),
        ([V0, V1], {10, 11, 12}),  # a veth into the bridge
        ([device(20, "mv0", "macvlan", below=10)], {10, 20}),
        ([device(20, "weave.5", "vlan", below=10)], {10, 20}),
        ([V0, V1, device(20, "v1.5", "vlan", below=12)], {10, 11, 12, 20}),
        ([device(20, "mv0", "macvlan", below=2)], {10}),  # on the wire
        ([device(20, "mv0", "macvlan", below=2, master=10)], {10, 20}),
        # A container's end is in another namespace.
        ([device(20, "vethwepl1", "veth", master=10)], {10, 20}),
        # Another router's bridge: by its mark, or by its ports.
        ([device(20, "net2", "bridge", alias=MARK)], {10, 20}),
        ([device(20, "net2", "bridge"), device(21, "wvt2", "tun", master=20)], {10, 20, 21}),
        ([device(20, "docker0", "bridge"), device(21, "veth1", "veth", master=20)], {10}),
        # A wire that is a port of ours: what goes out by a VLAN of it does not enter the bridge.
        (
            [device(20, "eth1", master=10), device(21, "eth1.5", "vlan", below=20)],
            {10, 20},
        ),
        # A bridge of the user's that is joined with ours.
        (
            [
                V0,
                device(12, "v1", "veth", below=11, master=20),
                device(20, "br0", "bridge"),
                device(21, "tap0", "tun", master=20),
            ],
            {10, 11, 12, 20, 21},
        ),
        # In one VRF with the wire: that joins routes, not wires.
        (
            [
                device(20, "mv0", "macvlan", below=10, master=30),
                device(30, "red", "vrf"),
                device(31, "eth1", master=30),
            ],
            {10, 20},
        ),
    ],
)
def test_what_leads_into_an_inner_network(more: list[Device], expected: set[int]) -> None:
    """t02, t03."""
    assert inside_of([LO, ETH0, OURS, *more], "weave", is_peers_port) == expected


def test_the_bridge_of_the_default_route_stays_outside() -> None:
    """The user has joined the wire with the inner network: there is nothing else to send by."""
    joined = [
        V0,
        device(12, "v1", "veth", below=11, master=20),
        device(20, "br0", "bridge"),
        device(2, "eth0", master=20),
    ]
    assert inside_of([LO, OURS, *joined], "weave", is_peers_port, frozenset({20})) == {10, 11, 12}
    macvlan = device(20, "mv0", "macvlan", below=10)
    assert inside_of([LO, OURS, macvlan], "weave", is_peers_port, frozenset({20})) == {10, 20}


def test_bridges_without_a_wire() -> None:
    """t01."""
    docker = device(20, "docker0", "bridge")
    ports = [device(21, "veth1", "veth", master=20), device(22, "tap0", "tun", master=20)]
    wired = device(30, "br0", "bridge")
    wire = device(31, "bond0", "bond", master=30)
    assert lonely_of([LO, ETH0, docker, *ports, wired, wire]) == {20}
